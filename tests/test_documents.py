"""What the documents tell people to type exists, and what they show is valid."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
import yaml
from PIL import Image

from vqa_pipeline.cli import app
from vqa_pipeline.curation.correcting import WAIVABLE_RULES
from vqa_pipeline.curation.corrections import COLUMNS, read_corrections, write_corrections
from vqa_pipeline.pipeline import Pipeline, PipelineSettings
from vqa_pipeline.reporting.rejects import read_rejects
from vqa_pipeline.sources.formats import FORMATS, Source
from vqa_pipeline.stages.dry_run import dry_run

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


def list_settings() -> set[tuple[str, str]]:
    """Every setting with every format that has it."""
    found = set()
    for variant in get_args(get_args(Source)[0]):
        (name,) = get_args(variant.model_fields["format"].annotation)
        found |= {(setting, name) for setting in variant.model_fields}
    return found


def test_every_setting_of_a_format_stands_in_the_table_of_settings():
    table = TEXTS["docs/formats.md"].partition("## Settings\n")[2].partition("\n## ")[0]
    told = set()
    for settings, formats in re.findall(r"(?m)^\| (`[^|]+) \| ([^|]+) \|", table):
        named = set(re.findall(r"`(\w+)`", formats))
        meant = set(FORMATS) - named if formats.startswith("every format") else named
        told |= {(setting, name) for setting in re.findall(r"`(\w+)`", settings) for name in meant}
    assert told == list_settings()


def test_every_column_of_a_corrections_file_is_explained_and_every_rule_that_can_be_waived():
    document = TEXTS["docs/corrections.md"]
    cells = re.findall(r"(?m)^\| (`[^|]+) \|", document)
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == set(COLUMNS)
    waived = re.search(r"`accept` waives [^:]+: ([^.]+)\.", document)
    assert waived
    assert re.findall(r"`(\w+)`", waived.group(1)) == list(WAIVABLE_RULES)


def test_the_example_of_a_corrections_file_can_be_read(tmp_path):
    [example] = re.findall(r"(?s)```\n(question_id,.*?)```", TEXTS["docs/corrections.md"])
    (tmp_path / "corrections.csv").write_text(example)
    edited, moved, dropped = read_corrections("radiology", tmp_path / "corrections.csv")
    assert edited.answers == ("yes", "no")
    assert moved.image == "scans/18.png"
    assert (dropped.question_id, dropped.action) == ("radiology/19", "drop")


def write_three_shapes(project: Path) -> None:
    """Data as README's three sources name it: two files of VQA v2, a table with a folder of images, and Parquet."""
    coco, scans = project / "raw" / "coco" / "train2014", project / "raw" / "radiology" / "images"
    for folder in (coco, scans, project / "raw" / "vqa", project / "raw" / "charts"):
        folder.mkdir(parents=True)
    ids = {"question_id": 42, "image_id": 9}
    asked = {"data_subtype": "train2014", "questions": [{**ids, "question": "What is it?"}]}
    answers = [{"answer": "cat", "answer_id": number, "answer_confidence": "yes"} for number in range(1, 11)]
    kinds = {"question_type": "what is", "answer_type": "other", "multiple_choice_answer": "cat"}
    told = {"data_subtype": "train2014", "annotations": [{**ids, **kinds, "answers": answers}]}
    vqa = project / "raw" / "vqa"
    (vqa / "v2_OpenEnded_mscoco_train2014_questions.json").write_text(json.dumps(asked))
    (vqa / "v2_mscoco_train2014_annotations.json").write_text(json.dumps(told))
    Image.new("RGB", (8, 8), "red").save(coco / "COCO_train2014_000000000009.jpg")
    (project / "raw" / "radiology" / "a.csv").write_text("file,q,a\n1.png,Which side?,left\n1.png,,left\n")
    Image.new("RGB", (8, 8), "blue").save(scans / "1.png")
    bars = io.BytesIO()
    Image.new("RGB", (8, 8), "green").save(bars, "PNG")
    row = {"image": {"bytes": bars.getvalue(), "path": None}, "question": "How many bars?", "answers": ["3"]}
    pq.write_table(pa.Table.from_pylist([row]), project / "raw" / "charts" / "train-00000-of-00001.parquet")


def test_the_three_shapes_of_data_are_curated_as_they_are_declared_and_corrected(tmp_path):
    [block] = [text for name, text in find(r"(?s)```yaml\n(.*?)```") if name == "README.md" and "hf_parquet" in text]
    declared = yaml.safe_load(block) | {"dataset": {"max_reject_fraction": 0.5}}
    write_three_shapes(tmp_path)
    rejected = dry_run(Pipeline("clinic", PipelineSettings.model_validate(declared), tmp_path), lambda _: None)
    assert rejected.failures == []
    assert {name: one.fates for name, one in rejected.ledger.sources.items()} == {
        "train2014": {"accepted": {"": 1}},
        "radiology": {"accepted": {"": 1}, "rejected": {"question_empty": 1}},
        "charts": {"accepted": {"": 1}},
    }
    corrections = re.search(r"--as-corrections (raw/\S+)", TEXTS["README.md"])
    assert corrections
    write_corrections(tmp_path / corrections.group(1), read_rejects(rejected.folder / "rejects"))
    filled_in = (tmp_path / corrections.group(1)).read_text().replace("a.csv:3,,", "a.csv:3,edit,Which lung?")
    (tmp_path / corrections.group(1)).write_text(filled_in)
    declared["sources"][1]["corrections"] = corrections.group(1)
    mended = dry_run(Pipeline("clinic", PipelineSettings.model_validate(declared), tmp_path), lambda _: None)
    assert mended.ledger.sources["radiology"].fates == {"accepted": {"": 2}}


def test_every_rule_of_a_format_is_explained():
    code = "".join(path.read_text() for path in (PROJECT / "vqa_pipeline" / "sources" / "formats").glob("*.py"))
    rules = set(re.findall(r'MalformedRecord\(\s*"(\w+)"', code))
    assert rules >= {"record_malformed", "images_several", "split_unlisted"}
    assert [rule for rule in rules if f"`{rule}`" not in TEXTS["docs/formats.md"]] == []
