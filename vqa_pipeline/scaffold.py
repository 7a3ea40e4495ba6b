"""Files written for a person to go on with: the `sources:` block, a whole declaration, a fresh Dagster project.

`dg scaffold` and `vqa-pipeline new` write the same template. Writes new files only, never over what is there.
"""

from __future__ import annotations

import importlib.util
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from vqa_pipeline.declarations import COMPONENT
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.files import write_atomically
from vqa_pipeline.reporting.escaping import escape_control
from vqa_pipeline.schemas import Name

EXAMPLE_SOURCES = textwrap.dedent("""\
    - name: shapes
      format: shapes                   # a generated world, to try the pipeline without a download
      images: 300                      # default: 1500
      broken_rows: false               # default: true, one row or image of every kind that is rejected
    # - name: mine
    #   format: table                  # JSON, JSON Lines, CSV, TSV or Parquet
    #   files: raw/mine/*.csv          # relative to the project
    #   image_root: raw/mine/images
    #   columns: {question: question, image: image, answers: answers, id: null}
    #   splits: by_image               # or train, val, test, or {column: split}
    # - name: vqa
    #   format: vqa_v2                 # the official two-file form
    #   questions: raw/vqa/*_questions.json
    #   annotations: raw/vqa/*_annotations.json
    #   image_root: raw/vqa/images
    """)
"""Sources that work as they are, and two to fill in."""

_DECLARATION = textwrap.dedent("""\
    # A VQA pipeline: where its questions come from, how it trains, how it is scored.
    # `dg check defs` checks this file, `dg list defs` shows its assets, `vqa-pipeline run --pipeline {name}` runs it.
    # Every section but `sources` may be left out; the values shown are the defaults unless a comment says otherwise.
    type: {component}
    attributes:
      name: {name}                         # prefixes asset keys, group and store path
      store: "{{{{ env('VQA_STORE', 'data/store') }}}}"   # published versions
      scratch: data/scratch                # caches and unfinished work: deleting it costs time, never results
      sources:
    {sources}
      dataset:
        split_fractions: {{train: 0.8, val: 0.1, test: 0.1}}
        max_reject_fraction: 0.01          # more rejected rows than this share and nothing is published
        leakage: fail                      # an image in two splits: fail, drop_from_train or report
        images_required: true
      compute:
        workers: 1                         # processes that check images and join questions side by side
      vocabulary:
        min_count: 1                       # answers given to fewer training questions are left out
        max_answers: 3129
      training:
        backbone: tiny                     # default: dandelin/vilt-b32-mlm; tiny trains from scratch on a CPU
        strategy: full                     # head, last_layers, projection, lora or full
        epochs: 10
        batch_size: 64
        learning_rate: 0.001               # default: default, right for a backbone and strategy
      evaluation:
        metric: auto                       # auto, official or normalized
        splits: [test]
      champion:
        minimum_effect: 0.01               # the smallest gain in accuracy that is worth knowing of
        max_slice_drop: 0.05               # a slice that loses more, beyond chance, holds the challenger
      retrain: manual                      # or on_change, or {{cron: "0 2 * * *", timezone: Europe/Berlin}}
      observe: "*/30 * * * *"              # when the files are looked at, in UTC, where retraining is not manual
      keep: 5                              # versions of each asset that `vqa-pipeline prune` leaves, or all
      freshness: {{dataset_days: null, champion_days: null}}   # too old after so many days without anything new
    """)

_TEMPLATE = re.compile(r"\{[{%#]")

_PROJECT = {
    "pyproject.toml": """\
        [project]
        name = "{package}"
        version = "0.1.0"
        requires-python = ">=3.11,<3.14"
        dependencies = ["vqa-pipeline[training,ui]"]

        [tool.dg]
        directory_type = "project"

        [tool.dg.project]
        root_module = "{package}"
        """,
    "dagster.yaml": """\
        # The Dagster instance of this project: `export DAGSTER_HOME=$PWD` lets every command share it.
        storage:
          sqlite:
            base_dir: .dagster
        # One job at a time on the GPU; a slot is freed a minute after its run ended, however it ended.
        concurrency:
          pools: {{default_limit: 1, granularity: op}}
        run_monitoring: {{enabled: true, free_slots_after_run_end_seconds: 60}}
        telemetry: {{enabled: false}}
        """,
    ".gitignore": """\
        .dagster/
        data/
        """,
    "{package}/__init__.py": """\
        \"\"\"A project of VQA pipelines; `defs/` declares them.\"\"\"
        """,
    "{package}/definitions.py": """\
        \"\"\"What Dagster loads: every pipeline that `defs/` declares.\"\"\"

        from pathlib import Path

        import dagster as dg


        @dg.definitions
        def defs() -> dg.Definitions:
            \"\"\"The declared pipelines.\"\"\"
            return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
        """,
}
"""The files of a fresh project, by their names."""


def check_name(name: str) -> None:
    """Refuse what cannot be a pipeline's name.

    Raises:
        SettingsError: it has other characters than lower-case letters, digits and underscores.
    """
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        fix = "Use lower-case letters, digits and underscores, a letter first."
        raise SettingsError("NAME", f"{name!r} cannot be the name of a pipeline", fix) from None


def render_declaration(folder: str, sources: str = EXAMPLE_SOURCES) -> str:
    """The text of a defs.yaml in a folder of that name, which becomes the pipeline's as far as its characters allow.

    Args:
        folder: Name of the folder.
        sources: The items of `sources:`, not indented.
    """
    name = re.sub(r"[^a-z0-9_]+", "_", folder.lower())
    name = name if name[:1].isalpha() else f"vqa_{name.strip('_')}".rstrip("_")
    return _DECLARATION.format(component=COMPONENT, name=name, sources=textwrap.indent(sources.rstrip("\n"), " " * 4))


def render_source(settings: Mapping[str, Any], above: Sequence[str] = (), below: Sequence[str] = ()) -> str:
    """A source as an item of `sources:`, a line for each setting, between comments of a line each."""
    lines = [f"{name}: {_render_value(value)}" for name, value in settings.items()]
    return _comment_out(above) + "- " + "\n  ".join(lines) + "\n" + textwrap.indent(_comment_out(below), "  ")


def _comment_out(lines: Sequence[str]) -> str:
    return "".join(f"# {escape_control(' '.join(line.split()))}\n" for line in lines)


def _render_value(value: Any) -> str:
    """A value in one line of YAML; what would be a template in a declaration is written so that it stays a text."""
    is_shown = json.dumps(value, ensure_ascii=False).isprintable()  # what does not show itself is escaped
    kept = _keep_braces(value)
    plain = yaml.safe_dump(kept, default_flow_style=True, sort_keys=False, allow_unicode=is_shown, width=1 << 20)
    return plain.removesuffix("...\n").strip()


def _keep_braces(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _keep_braces(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_keep_braces(item) for item in value]
    if isinstance(value, str) and "{{" in value:  # else it is no template, whatever it holds
        return _TEMPLATE.sub(r"{{ '\g<0>' }}", value)
    return value


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet.

    Raises:
        SettingsError: it is there.
        DiskError: it cannot be written.
    """
    if path.exists():
        raise SettingsError(str(path), "is there already", "Choose another name, or move it away first.")
    write_atomically(path, text.encode())


def write_project(folder: Path, package: str) -> None:
    """Write a fresh Dagster project with an empty package, for declarations to be put into its `defs/`.

    Raises:
        SettingsError: something is in the folder already.
        DiskError: it cannot be written.
    """
    if importlib.util.find_spec(package) is not None:
        raise SettingsError("NAME", f"{package} is the name of an installed Python package", "Choose another name.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(str(folder), "is there already", "Choose another name, or move it away first.")
    for name, text in _PROJECT.items():
        write_new(folder / name.format(package=package), textwrap.dedent(text).format(package=package))
