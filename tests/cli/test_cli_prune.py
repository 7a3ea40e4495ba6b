"""`vqa-pipeline prune`: shows what may go and deletes it when told to."""

from __future__ import annotations

import json

import pytest
from lineage_world import Published

DECLARATION = """
type: vqa_pipeline.VqaPipeline
attributes:
  name: {name}
  keep: 1
  sources: [{{name: scans, format: shapes}}]
"""


@pytest.fixture
def old(project):
    """Two versions of the dataset, of which one stays; returns the folder of the other."""
    project.declare("old", DECLARATION)
    published = Published(project.root, "old")
    return [published.publish("dataset", {"d": text}, text) for text in ("1", "2")][0].path


def test_without_yes_it_shows_what_may_go_and_why_and_deletes_nothing(call, old):
    ended = call("prune", "--pipeline", "old")
    assert (ended.status, ended.err) == (0, "")
    assert f"dataset version {old.name}  older than the newest 1" in ended.out
    assert "may go; --yes deletes it" in ended.out
    assert old.is_dir()


def test_with_yes_it_is_deleted_and_the_next_time_nothing_may_go(call, old):
    assert "Deleted: " in call("prune", "--pipeline", "old", "--yes").out
    assert not old.exists()
    assert call("prune", "--pipeline", "old").out == "Nothing may go (keep: 1).\n"


def test_programs_read_the_same(call, old):
    told = json.loads(call("prune", "--pipeline", "old", "--json").out)
    (one,) = told["found"]
    assert (told["pipeline"], told["deleted"], told["num_bytes"]) == ("old", False, one["num_bytes"])
    assert (one["what"], one["why"]) == (f"dataset version {old.name}", "older than the newest 1")
    assert one["path"] == f"data/store/old/dataset/versions/{old.name}"


def test_of_a_pipeline_that_never_ran_nothing_may_go(call, project):
    assert call("prune").out == "Nothing may go (keep: 5).\n"


@pytest.mark.parametrize("command", ["status", "history", "prune"])
def test_a_store_of_a_newer_format_is_told_in_a_line(call, project, command):
    manifest = project.publish("checkpoint") / "manifest.json"
    manifest.write_text('{"format": 2}')
    ended = call(command)
    assert ended.status == 1
    assert "the store has format 2, and this package reads 1" in " ".join(ended.err.split())
    assert "Traceback" not in ended.err


def test_while_a_run_works_prune_says_so_and_deletes_nothing(call, old, project):
    with Published(project.root, "old").store.lock("dataset"):
        ended = call("prune", "--pipeline", "old", "--yes")
    assert ended.status == 1
    assert "another run is working on dataset" in " ".join(ended.err.split())
    assert old.is_dir()
