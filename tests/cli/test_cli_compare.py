"""`vqa-pipeline compare`: why the accuracy changed, for people, for programs and as a page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli_world import COLOURS_DECLARATION, Project
from colours_world import Runner, write_source
from fake_worker import FakeWorker
from reporting_world import HOSTILE, Page

from vqa_pipeline.answers.normalization import normalize
from vqa_pipeline.project import load_pipelines

DECLARATION = COLOURS_DECLARATION + "  evaluation: {evaluation}\n"


def run(root: Path, epochs: int, answers: dict[int, str], **evaluation: object) -> FakeWorker:
    """A run with a model of its own, which answers these test questions so, and any other one with blue."""
    file = root / "hospital" / "defs" / "clinic" / "defs.yaml"
    file.write_text(DECLARATION.format(epochs=epochs, evaluation=json.dumps(evaluation)))
    [pipeline] = load_pipelines(root)
    worker = FakeWorker({f"colours/{number}": answer for number, answer in answers.items()})
    Runner(pipeline, worker).run()
    return worker


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with test questions 16 to 19 about red, green, blue and yellow, and two runs.

    Before, 17 and 18 are right. After, 16 and 17 are, and 19, because its annotation was edited.
    """
    project = Project(tmp_path_factory.mktemp("compared"))
    project.declare("clinic")
    write_source(project.root)
    run(project.root, 1, {17: "green"})
    write_source(project.root, change={19: {"answer": "blue"}})
    run(project.root, 2, {16: "red", 17: "green", 18: "red"})
    return project.root


@pytest.fixture
def root(compared, monkeypatch) -> Path:
    monkeypatch.chdir(compared)
    return compared


def test_the_parts_and_the_flips_are_told(call, root):
    ended = call("compare")
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "clinic: VQA accuracy 0.5000 → 0.7500"
    assert lines[1].startswith("  before  previous: checkpoint ")
    assert lines[2].startswith("  after   latest: checkpoint ")
    assert lines[2].endswith(", by the normalized metric")
    cells = [line.split() for line in lines[5:11]]
    assert cells == [
        ["Metric", "policy", "+0.0000", "0.5000", "0"],
        ["Questions", "removed", "+0.0000", "0.5000", "0"],
        ["Answers", "edited", "+0.2500", "0.7500", "1"],
        ["Model", "+0.0000", "0.7500", "4"],
        ["Questions", "added", "+0.0000", "0.7500", "0"],
        ["Together", "+0.2500", "0.7500"],
    ]
    assert lines[11].endswith("; that is of 4 images, which say too little.")
    lost, won = lines.index("1 right before, wrong now"), lines.index("1 wrong before, right now")
    assert lines[lost + 2].split() == ["colours/18", "what", "colour", "is", "it?", "blue", "blue", "red"]
    assert lines[won + 2].split() == ["colours/16", "what", "colour", "is", "it?", "red", "blue", "red"]


def test_json_has_the_change_and_the_flips(call, root):
    told = json.loads(call("compare", "previous", "latest", "--json").out)
    assert (told["pipeline"], told["before"]["name"], told["after"]["name"]) == ("clinic", "previous", "latest")
    change = told["change"]
    assert [(step["part"], step["change"]) for step in change["steps"]] == [
        ("policy", 0),
        ("removed", 0),
        ("edited", 0.25),
        ("model", 0),
        ("added", 0),
    ]
    assert (change["before"], change["after"], change["change"], change["num_images"]) == (0.5, 0.75, 0.25, 4)
    assert told["right_to_wrong"] == [
        {
            "question_id": "colours/18",
            "question": "what colour is it?",
            "references": ["blue"],
            "before": "blue",
            "after": "red",
        }
    ]
    assert (told["num_right_to_wrong"], told["num_wrong_to_right"]) == (1, 1)


def test_versions_may_be_named_in_any_order(call, root):
    before = json.loads(call("compare", "--json").out)
    ids = before["after"]["metrics"][:8], before["before"]["checkpoint"]
    told = json.loads(call("compare", *ids, "--json").out)
    assert (told["before"]["metrics"], told["after"]["metrics"]) == (
        before["after"]["metrics"],
        before["before"]["metrics"],
    )
    assert told["change"]["change"] == -0.25


def test_a_limit_cuts_the_flips_and_says_so(call, root):
    out = call("compare", "--limit", "0").out
    assert "1 right before, wrong now; here are the first 0 (--limit)" in out
    assert "colours/18" not in out


def test_the_page_is_one_file_with_the_images_of_the_flips(call, root):
    ended = call("compare", "--output", "out.html")
    assert ended.out.endswith("\nThe page: out.html\n")
    html = (root / "out.html").read_text()
    page = Page(html)
    assert "VQA accuracy 0.5000 → 0.7500" in page.text
    assert [
        "Answers edited against the annotators' answers as they are after",
        "1",
        "",
        "+0.2500",
        "0.7500",
    ] in page.rows
    images = [told["src"] for tag, told in page.elements if tag == "img"]
    assert len(images) == 2
    assert all(image.startswith("data:image/") for image in images)
    assert not {"link", "script", "iframe"} & page.tags
    assert "://" not in html


def test_confidential_images_are_not_on_the_page(call, compared, tmp_path, monkeypatch):
    root = Path(shutil.copytree(compared, tmp_path / "compared"))
    run(root, 2, {}, images=False)
    monkeypatch.chdir(root)
    call("compare", "--output", "out.html")
    page = Page((root / "out.html").read_text())
    assert "colours/16" in page.text
    assert "img" not in page.tags


def test_another_policy_is_no_merit_of_the_model_and_needs_none(call, compared, tmp_path, monkeypatch):
    root = Path(shutil.copytree(compared, tmp_path / "compared"))
    assert run(root, 2, {}, metric="official").jobs == []
    monkeypatch.chdir(root)
    told = json.loads(call("compare", "--json").out)
    assert (told["before"]["metric"], told["after"]["metric"]) == ("normalized", "official")
    changes = {step["part"]: step["change"] for step in told["change"]["steps"]}
    # a single reference that is met earns 0 by the official formula
    assert changes == {"policy": -0.75, "removed": 0, "edited": 0, "model": 0, "added": 0}
    assert told["right_to_wrong"] == []


def test_no_row_can_act_on_the_terminal_or_the_page(call, project):
    hostile = HOSTILE + "\x9b\x07\u2066"
    write_source(project.root, change={0: {"answer": hostile}, 16: {"question": hostile, "answer": hostile}})
    run(project.root, 1, {16: normalize(hostile)})
    run(project.root, 2, {16: "red"})
    for arguments in ((), ("--json",)):
        out = call("compare", *arguments, "--output", "out.html").out
        assert "alert(1)" in out
        assert not {"\x1b", "\x9b", "\x07", "\r", "\u202e", "\u2066"} & set(out)
    html = (project.root / "out.html").read_text()
    assert "script" not in Page(html).tags
    assert not {"\x1b", "\x9b", "\x07", "\u202e", "\u2066"} & set(html)


def test_without_a_version_before_it_says_so(call, project):
    write_source(project.root)
    run(project.root, 1, {})
    ended = call("compare")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: `previous`: no metrics before the latest say anything else. ")
