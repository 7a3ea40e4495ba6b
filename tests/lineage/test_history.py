"""History: every checkpoint with the newest score of its predictions."""

from __future__ import annotations

import pytest
from lineage_world import Published, tell_metrics

from vqa_pipeline.deployment import Deployment
from vqa_pipeline.evaluation.promotion import IN_USE
from vqa_pipeline.lineage.history import list_trainings
from vqa_pipeline.store import Version


@pytest.fixture
def published(tmp_path) -> Published:
    return Published(tmp_path)


def train(published: Published, name: str, dataset: Version, **told) -> Version:
    settings = {"strategy": "full", "epochs": 5, **told.pop("settings", {})}
    numbers = {"num_train_questions": 100}
    return published.publish(
        "checkpoint", {"weights": name}, name, (dataset,), settings=settings, numbers=numbers, **told
    )


def score(published: Published, dataset: Version, checkpoint: Version, vqa_accuracy: float, **told) -> Version:
    name = f"{checkpoint.manifest.data_version} on {dataset.manifest.data_version}"
    predictions = published.publish("predictions", {"predictions.parquet": name}, name, (dataset, checkpoint))
    metrics = {"metrics.json": tell_metrics(vqa_accuracy, **told)}
    return published.publish("metrics", metrics, f"metrics of {name}", (dataset, predictions))


def test_checkpoints_are_told_the_newest_first_with_their_own_scores(published):
    data = published.publish("dataset", {"a": "1"}, "d1")
    first = train(published, "first", data)
    score(published, data, first, 0.6)
    second = train(published, "second", data)
    newest = score(published, data, second, 0.7)
    told = list_trainings(published.store)
    assert [(one.data_version, one.score.vqa_accuracy, one.is_current) for one in told] == [
        ("second", 0.7, True),
        ("first", 0.6, False),
    ]
    assert told[0].version == second.manifest.version
    assert told[0].dataset == "d1"
    assert told[0].num_train_questions == 100
    assert told[0].score.metrics == newest.manifest.version
    assert told[0].score.interval.model_dump() == {"low": 0.65, "high": 0.75}


def test_of_several_scores_of_a_checkpoint_the_newest_counts(published):
    data = published.publish("dataset", {"a": "1"}, "d1")
    checkpoint = train(published, "first", data)
    score(published, data, checkpoint, 0.6)
    score(published, published.publish("dataset", {"a": "2"}, "d2"), checkpoint, 0.5)
    [one] = list_trainings(published.store)
    assert one.score.vqa_accuracy == 0.5


def test_a_checkpoint_tells_which_settings_the_one_before_did_not_have(published):
    data = published.publish("dataset", {"a": "1"}, "d1")
    train(published, "first", data)
    train(published, "second", data, settings={"epochs": 9, "seed": 3}, details={"overridden": {"seed": 3}})
    train(published, "third", data, settings={"epochs": 9, "seed": 3})
    told = list_trainings(published.store)
    assert [(one.changed, one.overridden) for one in told] == [
        ((), ()),
        (("epochs", "seed"), ("seed",)),
        ((), ()),
    ]


def test_a_verdict_is_told_where_there_is_one(published):
    data = published.publish("dataset", {"a": "1"}, "d1")
    score(published, data, train(published, "first", data), 0.6, verdict={"outcome": "held", "reasons": []})
    score(published, data, train(published, "second", data), 0.7, verdict=None)
    assert [one.score.verdict for one in list_trainings(published.store)] == [None, "held"]


def test_the_verdict_that_made_a_champion_stays_told(published):
    data = published.publish("dataset", {"a": "1"}, "d1")
    checkpoint = train(published, "first", data)
    score(published, data, checkpoint, 0.6, verdict={"outcome": "promoted"})
    score(published, data, checkpoint, 0.65, verdict=IN_USE.model_dump())
    score(published, data, train(published, "second", data), 0.7, verdict={"outcome": "in_use"})
    assert [(one.score.verdict, one.score.vqa_accuracy) for one in list_trainings(published.store)] == [
        (None, 0.7),
        ("promoted", 0.65),
    ]


def test_the_champion_and_whoever_was_it_before_are_told(published):
    data = published.publish("dataset", {"a": "1"}, "d1")
    first, second, _ = (train(published, name, data) for name in ("first", "second", "third"))
    deployed = (second, "promoted"), (first, "promoted"), (second, "promoted"), (first, "rolled back")
    for checkpoint, how in deployed:
        Deployment(published.store).deploy(checkpoint, "card", how, "because")
    told = list_trainings(published.store)
    assert [(one.in_use, [change.how for change in one.deployments]) for one in told] == [
        (False, []),
        (False, ["promoted", "promoted"]),
        (True, ["promoted", "rolled back"]),
    ]


def test_what_was_not_scored_or_lost_its_score_has_none(published):
    data = published.publish("dataset", {"a": "1"}, "d1")
    train(published, "never predicted", data)
    unannotated = train(published, "predicted without answers", data)
    predictions = published.publish("predictions", {"p": "1"}, "p1", (data, unannotated))
    nothing = '{"num_questions": 4, "num_scored": 0}'
    published.publish("metrics", {"metrics.json": nothing}, "m1", (data, predictions))
    damaged = score(published, data, train(published, "metrics damaged", data), 0.6)
    (damaged.path / "metrics.json").unlink()
    assert [one.score for one in list_trainings(published.store)] == [None, None, None]


def test_nothing_published_is_no_history(published):
    assert list_trainings(published.store) == []
