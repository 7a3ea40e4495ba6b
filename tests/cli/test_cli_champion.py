"""`vqa-pipeline champion`: who is in use, for people and programs, and a person's choice of another."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from colours_world import COLOURS, Runner, make_pipeline, write_source
from fake_worker import FakeWorker

from vqa_pipeline.deployment import Deployment
from vqa_pipeline.stages import open_store

ROWS = 200
RIGHT = {f"colours/{number}": COLOURS[number % 4] for number in range(ROWS)}


@pytest.fixture
def trained(project):
    """Two checkpoints of a real store; the first earned it, the second is as good."""
    write_source(project.root, ROWS)
    versions = []
    for seed in (0, 1):
        pipeline = make_pipeline(project.root, training={"backbone": "tiny", "seed": seed})
        done = Runner(pipeline, FakeWorker(RIGHT)).run("champion")
        versions.append(done["checkpoint"].version.manifest.version)
    return versions


def list_changes(call):
    told = json.loads(call("champion", "list", "--json").out)
    return [(change["version"], change["how"], change["reason"]) for change in told["changes"]]


def test_who_is_in_use_is_told_with_why_and_where(call, trained):
    ended = call("champion")
    assert (ended.status, ended.err) == (0, "")
    first, second = ended.out.splitlines()
    assert re.fullmatch(
        rf"clinic: checkpoint {trained[0]}, promoted on \d{{4}}-\d\d-\d\d \d\d:\d\d UTC: \+0\.750 .*", first
    )
    assert second == "  data/store/clinic/champion/current"


def test_json_has_the_same(call, trained):
    told = json.loads(call("champion", "--json").out)
    assert (told["pipeline"], told["version"], told["how"]) == ("clinic", trained[0], "promoted")
    assert told["path"] == "data/store/clinic/champion/current"


def test_another_is_pinned_released_and_gone_back_from(call, project, trained):
    first, second = trained
    assert call("champion", "pin", second[:6], "--reason", "the audit").out.startswith(
        f"clinic: checkpoint {second}, pinned"
    )
    card = (project.root / "data" / "store" / "clinic" / "champion" / "current" / "README.md").read_text()
    assert "Pinned: the audit" in card.replace("\\", "")
    assert "| Model | 1.000 |" in card
    assert call("champion", "release").status == 0
    assert call("champion", "rollback", "--reason", "complaints").status == 0
    assert [(version, how) for version, how, _ in list_changes(call)] == [
        (first, "promoted"),
        (second, "pinned"),
        (second, "released"),
        (first, "rolled back"),
    ]
    assert Deployment(open_store(make_pipeline(project.root))).require_champion().version == first
    header, last, *_ = call("champion", "list").out.splitlines()
    assert header.split() == ["since", "(UTC)", "checkpoint", "accuracy", "how", "why"]
    assert last.split()[2] == first
    assert last.endswith("rolled back  complaints")
    scored = json.loads(call("champion", "list", "--json").out)["changes"][-1]["score"]
    low, high = scored["interval"]["low"], scored["interval"]["high"]
    assert f"  1.000 ({low:.3f} to {high:.3f})  " in last


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pin"], "error: `VERSION`: a version is needed. "),
        (["rollback", "abcd"], "error: `VERSION`: rollback takes no version. "),
        (["pin", "zzzz"], "error: `zzzz`: is the beginning of no checkpoint's id. "),
        (["pin", "a"], "error: `a`: is the beginning of no checkpoint's id. "),
        (["release"], " is not pinned. There is nothing to do."),
        (["rollback"], "error: `rollback`: no other checkpoint was in use before. "),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(call, trained, arguments, told):
    before = list_changes(call)
    ended = call("champion", *arguments)
    assert ended.status == 1
    assert told in ended.err
    assert list_changes(call) == before


def test_without_one_it_says_what_to_do(call, project):
    ended = call("champion")
    assert ended.status == 1
    assert "there is no champion yet. Materialize champion, or choose one" in ended.err
    assert call("champion", "list", "--json").status == 0


def test_a_damaged_champion_is_told_and_mended_by_pinning_it_again(call, project, trained):
    folder = Path(project.root / "data" / "store" / "clinic" / "champion" / "deployed" / trained[0])
    (folder / "vocabulary.json").unlink()
    ended = call("champion")
    assert ended.status == 1
    assert f"`vqa-pipeline champion pin {trained[0]}`" in ended.err
    assert call("champion", "pin", trained[0]).status == 0
    assert call("champion").status == 0
