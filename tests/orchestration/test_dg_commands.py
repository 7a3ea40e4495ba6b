"""`dg` in a copy of this project, as a shell calls it: what it lists, scaffolds, checks and launches."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from vqa_pipeline.sources.formats import FORMATS

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
STAGES = ("dataset", "vocabulary", "checkpoint", "predictions", "metrics", "champion", "training_curve")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    out: str


class Copy:
    """A copy of what is committed, with an instance of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True, cwd=REPOSITORY, text=True)
        for name in listed.stdout.split("\0"):
            if name and (REPOSITORY / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, root / name)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("VQA_", "DAGSTER_"))}
        self.environment = {
            **inherited,
            "PYTHONPATH": str(root),
            "DAGSTER_HOME": str(root),
            "PYTHONWARNINGS": "ignore",
            "COLUMNS": "200",
        }

    def call(self, *command: str) -> Ended:
        """Run a program of this Python's environment in the copy; what it prints is without colours."""
        program = Path(sys.executable).parent / command[0]
        ended = subprocess.run(
            [str(program), *command[1:]],
            cwd=self.root,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=300,
        )
        return Ended(ended.returncode, ANSI.sub("", ended.stdout))

    def file(self, name: str) -> Path:
        return self.root / "vqa_pipeline" / "defs" / name / "defs.yaml"

    def list_assets(self) -> set[str]:
        ended = self.call("dg", "list", "defs", "--json")
        assert ended.status == 0, ended.out
        return {asset["asset_key"] for asset in json.loads(ended.out[ended.out.index("{") :])["assets"]}


def expect_assets(pipeline: str, source: str = "shapes") -> set[str]:
    return {f"{pipeline}/{asset}" for asset in (f"raw/{source}", f"records/{source}", *STAGES)}


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Copy:
    """The project as it is committed; tests leave it as it was."""
    return Copy(tmp_path_factory.mktemp("copied project"))


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Copy:
    """A copy with a second pipeline, scaffolded."""
    two = Copy(tmp_path_factory.mktemp("two pipelines"))
    ended = two.call("dg", "scaffold", "defs", "vqa_pipeline.VqaPipeline", "clinic")
    assert ended.status == 0, ended.out
    return two


@pytest.fixture(scope="module")
def scaffolded(tmp_path_factory) -> tuple[Copy, str]:
    """A copy with a scaffolded pipeline instead of the demo, and the text of its file."""
    only = Copy(tmp_path_factory.mktemp("mistakes"))
    ended = only.call("dg", "scaffold", "defs", "vqa_pipeline.VqaPipeline", "clinic")
    assert ended.status == 0, ended.out
    shutil.rmtree(only.file("demo").parent)
    return only, only.file("clinic").read_text()


def test_the_copy_is_what_runs(copy):
    """Else every other test here would look at the repository itself."""
    ended = copy.call("python", "-c", "import vqa_pipeline.definitions as loaded; print(loaded.__file__)")
    assert ended.out.strip() == str(copy.root / "vqa_pipeline" / "definitions.py")
    demo = copy.file("demo")
    text = demo.read_text()
    demo.write_text(text.replace("name: demo", "name: only_in_the_copy"))
    try:
        assert copy.list_assets() == expect_assets("only_in_the_copy")
    finally:
        demo.write_text(text)


def test_the_project_passes_the_checks(copy):
    checked = copy.call("dg", "check", "yaml")
    assert (checked.status, checked.out.strip()) == (0, "All component YAML validated successfully.")
    checked = copy.call("dg", "check", "defs")
    assert checked.status == 0
    assert checked.out.strip().endswith("All definitions loaded successfully.")
    assert copy.list_assets() == expect_assets("demo")


def test_the_component_is_listed_with_what_it_is(copy):
    ended = copy.call("dg", "list", "components", "--json")
    [component] = [one for one in json.loads(ended.out)["items"] if one["key"] == "vqa_pipeline.VqaPipeline"]
    assert component["summary"].startswith("A whole VQA pipeline: sources, dataset, answer vocabulary, ")


def test_the_component_explains_its_settings(copy):
    ended = copy.call("dg", "utils", "inspect-component", "vqa_pipeline.VqaPipeline", "--defs-yaml-json-schema")
    schema = json.loads(ended.out)
    settings = schema["properties"]["attributes"]
    assert settings["required"] == ["sources"]
    for name, setting in settings["properties"].items():
        section = settings["$defs"].get(setting.get("$ref", "").rpartition("/")[2], {})
        assert setting.get("description", section.get("description")), name


def test_a_scaffolded_pipeline_stands_beside_the_demo(two):
    checked = two.call("dg", "check", "defs")
    assert checked.status == 0, checked.out
    assert two.list_assets() == expect_assets("demo") | expect_assets("clinic")


def test_a_scaffold_in_python_is_refused_in_words(copy):
    ended = copy.call("dg", "scaffold", "defs", "vqa_pipeline.VqaPipeline", "ward", "--format", "python")
    assert ended.status != 0
    assert "a pipeline is declared in YAML" in ended.out
    shutil.rmtree(copy.file("ward").parent)


def test_a_launch_makes_assets_that_the_commands_see(two):
    file = two.file("clinic")
    file.write_text(re.sub(r"images: 300\b", "images: 24", file.read_text()))
    curated = ("raw/shapes", "records/shapes", "dataset", "vocabulary")
    selection = " or ".join(f'key:"clinic/{asset}"' for asset in curated)
    config = {"execution": {"config": {"in_process": {}}}, "loggers": {"console": {}}}
    ended = two.call("dg", "launch", "--assets", selection, "--config-json", json.dumps(config))
    assert ended.status == 0, ended.out
    assert re.search(r"^\d\d:\d\d:\d\d  clinic/dataset +check no_leakage passed$", ended.out, re.MULTILINE)
    assert "DEBUG" not in ended.out
    status = two.call("vqa-pipeline", "status", "--json", "--pipeline", "clinic")
    assets = json.loads(status.out)["assets"]
    assert set(assets) == {f"clinic/{asset}" for asset in curated}
    assert assets["clinic/dataset"]["numbers"]["num_questions"] == 96
    assert assets["clinic/dataset"]["path"].startswith("data/store/clinic/dataset/versions/")


# ------------------------------------------------------------------------------------------------------------- mistakes


NAMES = ", ".join(map(repr, sorted(FORMATS)))
MISTAKES = {
    "unknown key": ("    epochs: 10", "    epoch: 10", r"training\.epoch\b.*did you mean epochs\?"),
    "unknown key of a source": ("      images: ", "      image: ", r"sources\.0\.image\b.*there are name,.* splits, format, images"),
    "wrong type": ("    epochs: 10", "    epochs: many", r"training\.epochs\b.*should be a valid integer.*not 'many'"),
    "out of range": ("    epochs: 10", "    epochs: 0", r"training\.epochs\b.*greater than or equal to 1, not 0"),
    "bad format": ("      format: shapes", "      format: shape ", rf"sources\.0\.format\b.*should be one of {NAMES}, not 'shape'"),
    "missing field": ("    - name: shapes", "    - #", r"sources\.0\.name\b.*is missing: Name of the source"),
    "a name twice": ("  dataset:", "    - {name: shapes, format: shapes}\n  dataset:", r"`sources` is wrong: two sources are called shapes"),
    "a key twice": ("  vocabulary:", "  dataset: {leakage: report}\n  vocabulary:", r"`dataset` is written twice, in line \d+ too"),
    "undefined variable": ("env('VQA_STORE', 'data/store')", "envv('VQA_STORE')", r"`store`.*'envv' is undefined"),
    "unset environment": ("env('VQA_STORE', 'data/store')", "env('VQA_UNSET')", r"`store`.*environment variable VQA_UNSET is not set"),
    "bad cron": ("  retrain: manual", "  retrain: {cron: 99 2 * * *}", r"`retrain\.cron` is wrong: '99' is no minute: write 0 to 59"),
    "not YAML": ("    max_reject_fraction: 0.01", "    max_reject_fraction: [0.01", r"expected ',' or '\]'"),
}  # fmt: skip
"""By kind: the text replaced, what replaces it, and what is told of it."""

ELSEWHERE = {"missing field": "      format: shapes", "a name twice": "  sources:", "not YAML": "    leakage: fail"}
"""What the line of a mistake begins with, where that is not the text that was replaced."""

BY_SCHEMA = {
    "unknown key": r"attributes\.training\.epoch Additional properties are not allowed \('epoch' was unexpected\)",
    "unknown key of a source": r"attributes\.sources\.0\.image Additional properties are not allowed",
    "wrong type": r"attributes\.training\.epochs 'many' is not of type 'integer'",
    "out of range": r"attributes\.training\.epochs 0 is less than the minimum of 1",
    "bad format": rf"attributes\.sources\.0\.format 'shape' is not one of \[{NAMES}\]",
    "missing field": r"attributes\.sources\.0 'name' is a required property",
}
"""The kinds that Dagster's schema sees before anything is loaded, and its own words for them."""


@pytest.fixture(params=MISTAKES)
def mistaken(request, scaffolded) -> Iterator[tuple[Copy, str, int]]:
    """A project with a mistake, its kind and its line."""
    project, text = scaffolded
    old, new, _ = MISTAKES[request.param]
    assert old in text
    wrong = text.replace(old, new, 1)
    project.file("clinic").write_text(wrong)
    place = wrong.index(ELSEWHERE.get(request.param, new))
    yield project, request.param, wrong[:place].count("\n") + 1
    project.file("clinic").write_text(text)


def test_a_mistake_is_told_with_file_line_culprit_and_what_is_allowed(mistaken):
    """By the commands in one line, by Dagster in the same words somewhere in its own."""
    project, kind, line = mistaken
    file, expected = project.file("clinic"), MISTAKES[kind][2]
    told = project.call("vqa-pipeline", "status")
    assert told.status == 1
    assert told.out.startswith(f"error: `{file}`: line {line}, ")
    assert told.out.count("\n") == 1
    assert re.search(expected, told.out)
    checked = project.call("dg", "check", "defs", "--no-check-yaml")
    assert checked.status == 1
    if kind == "not YAML":
        assert re.search(expected, checked.out)
        assert f'"{file}", line {line}, ' in checked.out
    else:
        assert told.out.removeprefix("error: ").strip() in checked.out


@pytest.mark.parametrize("mistaken", BY_SCHEMA, indirect=True)
def test_what_the_schema_sees_is_told_with_file_line_and_culprit_by_dagster_itself(mistaken):
    project, kind, line = mistaken
    checked = project.call("dg", "check", "yaml")
    assert checked.status == 1
    assert re.match(rf"{re.escape(str(project.file('clinic')))}:{line} - .*{BY_SCHEMA[kind]}", checked.out)


def test_a_project_that_new_made_is_one_to_dagster(copy, tmp_path):
    """Where there was none: made from data, checked and listed by `dg` in it."""
    (tmp_path / "rows.csv").write_text("image,question,answer\n1.png,what?,red\n")
    outside = Copy.__new__(Copy)
    outside.root, outside.environment = tmp_path, copy.environment
    assert outside.call("vqa-pipeline", "new", "ward", "rows.csv").status == 0
    outside.root = tmp_path / "ward"
    outside.environment = {**copy.environment, "DAGSTER_HOME": str(outside.root)}
    checked = outside.call("dg", "check", "defs")
    assert checked.status == 0, checked.out
    assert outside.list_assets() == expect_assets("ward", "rows")
