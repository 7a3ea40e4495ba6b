"""`raw/<source>`: the files of a source as they are; a generated source's are made here and published."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqa_pipeline.errors import SourceChanged
from vqa_pipeline.files import write_atomically
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.progress import Progress, silent
from vqa_pipeline.publishing import PAGE, Log, Outcome, Work, run_stage
from vqa_pipeline.stages.stage import make_stage, open_store
from vqa_pipeline.store import Version

if TYPE_CHECKING:
    from vqa_pipeline.sources.formats import Source
    from vqa_pipeline.sources.observation import FileState


def observe_source(pipeline: Pipeline, source: str, log: Log, progress: Progress = silent) -> Outcome:
    """`raw/<source>`: the source's files and their digests; a generated source generates its files.

    Raises:
        SourceError: a file or folder that the settings name does not exist.
    """
    from vqa_pipeline.reporting.cards import raw_markdown
    from vqa_pipeline.sources.formats.shapes import ShapesSource, generate
    from vqa_pipeline.sources.observation import digest_states, observe_files

    settings = pipeline.source(source)
    stage = make_stage(pipeline, f"raw/{source}", {})

    def describe(work: Work, states: Mapping[str, FileState]) -> None:
        work.data_version = digest_states(states)
        work.numbers = {"num_files": len(states), "num_bytes": sum(state.size for state in states.values())}
        work.write(PAGE, raw_markdown({"source": source, "format": settings.format, **work.numbers}))

    def generate_files(work: Work) -> None:
        assert isinstance(settings, ShapesSource)  # noqa: S101 - chosen below
        generate(settings, work.folder)
        files = sorted(path for path in work.folder.rglob("*") if path.is_file())
        describe(work, observe_files(files, work.folder, {}))

    if isinstance(settings, ShapesSource):
        return run_stage(open_store(pipeline), stage, generate_files, log)
    states = _observe_source_files(pipeline, settings, progress)

    def list_files(work: Work) -> None:
        listed = {name: {"size": state.size, "sha256": state.sha256} for name, state in states.items()}
        work.write("files.json", json.dumps(listed, indent=1, sort_keys=True, ensure_ascii=False))
        describe(work, states)

    observed = stage._replace(settings={**stage.settings, "content": digest_states(states)})
    return run_stage(open_store(pipeline), observed, list_files, log)


def observe_again(pipeline: Pipeline, source: str, log: Log, progress: Progress) -> Version:
    """The source as it is now; a look costs a `stat` per file, and no version of another state is ever read."""
    return observe_source(pipeline, source, log, progress).version


def _observe_source_files(pipeline: Pipeline, settings: Source, progress: Progress = silent) -> dict[str, FileState]:
    """State of every file of a source; bytes are read only where size or time moved since the last look."""
    from vqa_pipeline.sources.observation import observe_source_files

    known = read_observed(pipeline, settings.name)

    def keep(states: Mapping[str, FileState]) -> None:
        write_atomically(_name_observed(pipeline, settings.name), json.dumps(states).encode())

    states = observe_source_files(settings, pipeline.project_root, known, progress, keep)
    if states != known:
        keep(states)
    return states


def look_at_source(pipeline: Pipeline, source: str, raw: Version) -> tuple[dict[str, str], dict[str, str]]:
    """The digests of a source's files as `raw` has them, and as they are now; a generated source's are the same.

    Raises:
        SourceError: a file or folder that the settings name does not exist.
    """
    from vqa_pipeline.sources.formats.shapes import ShapesSource

    settings = pipeline.source(source)
    if isinstance(settings, ShapesSource):
        return {}, {}
    now = _observe_source_files(pipeline, settings)
    return list_raw_files(raw), {name: state.sha256 for name, state in now.items()}


def read_observed(pipeline: Pipeline, source: str) -> dict[str, FileState]:
    """What the last look found of every file of a source; nothing where scratch does not remember."""
    from vqa_pipeline.sources.observation import FileState

    remembered = _name_observed(pipeline, source)
    if not remembered.is_file():
        return {}
    return {name: FileState._make(state) for name, state in json.loads(remembered.read_bytes()).items()}


def _name_observed(pipeline: Pipeline, source: str) -> Path:
    return pipeline.scratch_folder / "observed" / f"{source}.json"


@contextmanager
def unchanged(pipeline: Pipeline, settings: Source, raw: Version) -> Iterator[None]:
    """Fail unless a source's files are those of `raw` and stay so while they are read.

    What was read would belong to no one state, or to another than the one that the manifest names.
    """
    from vqa_pipeline.sources.formats.shapes import ShapesSource

    if isinstance(settings, ShapesSource):
        yield
        return
    before = _observe_source_files(pipeline, settings)
    _refuse_changes(settings, list_raw_files(raw), {name: state.sha256 for name, state in before.items()})
    yield
    _refuse_changes(settings, before, _observe_source_files(pipeline, settings))


def _refuse_changes(settings: Source, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed:
        raise SourceChanged(settings.name, changed[0])


def list_raw_files(raw: Version) -> dict[str, str]:
    """The sha256 of every file of an observed source, by its path relative to the source's base."""
    listed = json.loads((raw.path / "files.json").read_bytes())
    return {name: state["sha256"] for name, state in listed.items()}


def find_source_root(pipeline: Pipeline, settings: Source, raw: Version) -> Path:
    """Where a source's relative paths start: its published files if they are generated, else the project."""
    from vqa_pipeline.sources.formats.shapes import ShapesSource

    return raw.path if isinstance(settings, ShapesSource) else pipeline.project_root
