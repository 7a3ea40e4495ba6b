"""What the documents tell people to type exists, and what they show is valid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from vqa_pipeline.cli import app
from vqa_pipeline.pipeline import PipelineSettings
from vqa_pipeline.sources.formats import FORMATS

PROJECT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [
        *PROJECT.glob("*.md"),
        *PROJECT.glob("benchmarks/*.md"),
        *PROJECT.glob("docs/*.md"),
        *PROJECT.glob("examples/**/defs.yaml"),
    ]
)
TEXTS = {path.relative_to(PROJECT).as_posix(): path.read_text(encoding="utf-8") for path in DOCUMENTS}


def find(pattern: str) -> list[tuple[str, str]]:
    return sorted({(name, match) for name, text in TEXTS.items() for match in re.findall(pattern, text)})


def list_options() -> dict[str, set[str]]:
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return {name: {option for one in command.params for option in one.opts} for name, command in commands.items()}


@pytest.mark.parametrize(("document", "target"), find(r"(?:`|\n)make ([a-z-]+)(?:`|\n)"))
def test_every_make_target_exists(document, target):
    makefile = (PROJECT / "Makefile").read_text()
    assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{document} names `make {target}`"


@pytest.mark.parametrize(("document", "line"), find(r"vqa-pipeline ([a-z]+(?: [-a-zA-Z0-9_=./]+)*)"))
def test_every_command_and_option_exists(document, line):
    command, *arguments = line.split()
    options = list_options()
    assert command in options, f"{document} names `vqa-pipeline {command}`"
    unknown = {argument for argument in arguments if argument.startswith("--")} - options[command]
    assert not unknown, f"{document} gives {command} the options {unknown}"


@pytest.mark.parametrize(("document", "block"), find(r"(?s)```yaml\n(.*?)```"))
def test_every_piece_of_yaml_is_a_pipeline_s(document, block):
    declared = {"sources": [{"name": "any", "format": "shapes"}], **yaml.safe_load(block)}
    PipelineSettings.model_validate(declared)


@pytest.mark.parametrize(("document", "target"), find(r"\]\((?!https?:)([^)#]+)\)"))
def test_every_link_leads_somewhere(document, target):
    assert (PROJECT / document).parent.joinpath(target).exists(), f"{document} links to {target}"


def test_every_place_in_the_layout_exists():
    layout = TEXTS["README.md"].partition("## What is where")[2].partition("```")[2].partition("```")[0]
    inside = [name for line in layout.splitlines() if line.startswith("  ") for name in re.split(r",? +", line.strip())]
    places = [name for name in inside if re.fullmatch(r"[a-z_/]+/|[a-z_]+\.py|defs/demo/defs.yaml", name)]
    assert len(places) > 10
    assert [name for name in places if not (PROJECT / "vqa_pipeline" / name).exists()] == []


def test_every_word_for_what_is_done_to_an_image_is_explained():
    sources = PROJECT / "vqa_pipeline" / "sources"
    code = (sources / "images.py").read_text() + (sources / "rgb.py").read_text()
    words = set(re.findall(r'"([a-z]+(?:_[a-z0-9]+)*_(?:frame|icon|bit|fractions|range|zero|applied|white))"', code))
    assert words >= {
        "first_frame",
        "largest_icon",
        "orientation_applied",
        "transparency_on_white",
        "not_finite_as_zero",
    }
    assert [word for word in words if f"`{word}`" not in TEXTS["docs/images.md"] and "_bit" not in word] == []


def test_the_pins_are_names_and_versions_alone():
    pins = [line for line in (PROJECT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(pins) > 100
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin)] == []


def test_every_format_stands_in_the_table_of_formats():
    table, _, _ = TEXTS["docs/formats.md"].partition("\n## ")
    assert re.findall(r"(?m)^\| `(\w+)` \|", table) == sorted(FORMATS)


def test_every_rule_of_a_format_is_explained():
    code = "".join(path.read_text() for path in (PROJECT / "vqa_pipeline" / "sources" / "formats").glob("*.py"))
    rules = set(re.findall(r'MalformedRecord\(\s*"(\w+)"', code))
    assert rules >= {"record_malformed", "images_several", "split_unlisted"}
    assert [rule for rule in rules if f"`{rule}`" not in TEXTS["docs/formats.md"]] == []
