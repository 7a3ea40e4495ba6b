"""`vqa-pipeline history`: checkpoints with what became of them, for people and for programs."""

from __future__ import annotations

import json

import pytest
from lineage_world import Published, tell_metrics

from vqa_pipeline.deployment import Deployment


@pytest.fixture
def trained(project):
    """Two checkpoints of one dataset; the newer one, of a run with other epochs, was scored and held."""
    published = Published(project.root)
    data = published.publish("dataset", {"a": "1"}, "d1")
    settings, numbers = {"strategy": "full", "epochs": 5, "seed": 0}, {"num_train_questions": 4500}
    older = published.publish("checkpoint", {"w": "1"}, "c1", (data,), settings=settings, numbers=numbers)
    other = {**settings, "epochs": 9, "seed": 1}
    overridden = {"overridden": {"epochs": 9}}
    newer = published.publish("checkpoint", {"w": "2"}, "c2", (data,), settings=other, details=overridden)
    predictions = published.publish("predictions", {"p": "1"}, "p1", (data, newer))
    told = tell_metrics(0.7, verdict={"outcome": "needs_more_data"})
    published.publish("metrics", {"metrics.json": told}, "m1", (data, predictions))
    Deployment(published.store).deploy(older, "card", "promoted", "it is the first")
    return older.manifest.version, newer.manifest.version


def test_the_table_tells_a_checkpoint_a_line_the_newest_first(call, trained):
    older, newer = trained
    ended = call("history")
    assert (ended.status, ended.err) == (0, "")
    space = "  "
    assert [line.split(space) for line in compact(ended.out)] == [
        ["checkpoint", "published (UTC)", "questions", "accuracy", "verdict", "trained with"],
        [newer, "2026-01-02 12:02", "0.700 (0.650 to 0.750)", "needs more data",
         "strategy full, epochs 9 (for this run), seed 1", "current"],
        [older, "2026-01-02 12:01", "4500", "not scored", "strategy full, epochs 5", "in use (promoted)"],
    ]  # fmt: skip


def compact(out: str) -> list[str]:
    """The cells of a table two blanks apart."""
    return ["  ".join(cell.strip() for cell in line.split("  ") if cell.strip()) for line in out.splitlines()]


def test_json_has_all_of_it(call, trained):
    older, newer = trained
    told = json.loads(call("history", "--json", "--limit", "1").out)
    [one] = told.pop("checkpoints")
    assert told == {"pipeline": "clinic", "num_checkpoints": 2}
    assert one["path"] == f"data/store/clinic/checkpoint/versions/{newer}"
    assert one["settings"] == {"strategy": "full", "epochs": 9, "seed": 1}
    assert (one["changed"], one["overridden"]) == (["epochs", "seed"], ["epochs"])
    assert one["score"]["verdict"] == "needs_more_data"
    assert one["score"]["interval"] == {"low": 0.65, "high": 0.75}


def test_a_limit_is_told(call, trained):
    assert call("history", "--limit", "1").out.endswith("\n\n1 older ones are not shown (--limit).\n")


def test_without_a_checkpoint_it_says_what_to_do(call, project):
    ended = call("history")
    assert ended.status == 1
    assert ended.err.startswith("error: checkpoint has no published version in ")
