"""What a person calls answers leads to them, or to a message that says what is wrong with the name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from lineage_world import Published, tell_metrics

from vqa_pipeline.deployment import Deployment
from vqa_pipeline.errors import NoChampion, NotPublished, SettingsError
from vqa_pipeline.lineage.naming import NamedAnswers, find_named
from vqa_pipeline.store import Version


def add_run(published: Published, number: int, champion: str | None = None) -> SimpleNamespace:
    """A checkpoint, its predictions and their metrics; their data versions begin with `check`, `answers`, `scores`."""
    data = published.store.current("dataset") or published.publish("dataset", {"a": "1"}, "dataset")
    checkpoint = published.publish("checkpoint", {"w": str(number)}, f"check{number}", (data,))
    details = {"champion": champion}
    predictions = published.publish(
        "predictions", {"p": str(number)}, f"answers{number}", (data, checkpoint), details=details
    )
    metrics = {"metrics.json": tell_metrics(number / 10)}
    scored = published.publish("metrics", metrics, f"scores{number}", (data, predictions))
    return SimpleNamespace(checkpoint=checkpoint, predictions=predictions, metrics=scored)


@pytest.fixture
def published(tmp_path) -> Published:
    return Published(tmp_path)


def ids(named: NamedAnswers) -> tuple[str | None, str | None, str | None]:
    def tell(one: object) -> str | None:
        return one.manifest.data_version if isinstance(one, Version) else one and str(one)  # type: ignore[return-value]

    return tell(named.predictions), tell(named.metrics), named.checkpoint


def test_latest_and_previous_are_metrics(published):
    add_run(published, 1)
    add_run(published, 2)
    assert ids(find_named(published.store, "latest")) == ("answers2", "scores2", "check2")
    assert ids(find_named(published.store, "previous")) == ("answers1", "scores1", "check1")


def test_metrics_that_say_the_same_are_not_the_previous_ones(published):
    first = add_run(published, 1)
    second = add_run(published, 2)
    same = {"metrics.json": tell_metrics(0.2), "report.html": "without images"}
    published.publish("metrics", same, "scores2", (published.store.current("dataset"), second.predictions))
    assert find_named(published.store, "previous").metrics == first.metrics


def test_ids_of_metrics_predictions_and_checkpoints_lead_to_the_same_answers(published):
    first = add_run(published, 1)
    add_run(published, 2)
    for version in (first.metrics, first.predictions, first.checkpoint):
        for name in (version.manifest.version, version.manifest.version[:6], version.manifest.data_version):
            assert ids(find_named(published.store, name)) == ("answers1", "scores1", "check1")


def test_a_path_leads_to_the_version_that_it_lies_in(published, monkeypatch):
    first = add_run(published, 1)
    add_run(published, 2)
    monkeypatch.chdir(published.project)
    for path in (
        first.metrics.path,
        first.predictions.path / "p",
        first.checkpoint.path.relative_to(published.project),
    ):
        assert ids(find_named(published.store, str(path))) == ("answers1", "scores1", "check1")


def test_another_file_is_taken_as_it_is(published, tmp_path):
    file = tmp_path / "mine.parquet"
    file.write_text("")
    assert find_named(published.store, str(file)) == NamedAnswers(file, None, None)


def test_a_checkpoint_that_answered_beside_another_is_found_there(published):
    first = add_run(published, 1)
    add_run(published, 2, champion="check1")
    assert ids(find_named(published.store, first.checkpoint.manifest.version)) == ("answers2", "scores2", "check1")


def test_the_champion_s_answers_are_the_newest_that_it_gave(published):
    first = add_run(published, 1)
    Deployment(published.store).deploy(first.checkpoint, "card", "promoted", "it is the first")
    add_run(published, 2)
    assert ids(find_named(published.store, "champion")) == ("answers1", "scores1", "check1")
    add_run(published, 3, champion="check1")
    assert ids(find_named(published.store, "champion")) == ("answers3", "scores3", "check1")


def test_a_name_of_several_versions_is_told_with_them(published):
    first, second = add_run(published, 1), add_run(published, 2)
    with pytest.raises(SettingsError) as told:
        find_named(published.store, "check")
    assert str(told.value) == (
        f"`check`: may be checkpoint {first.checkpoint.manifest.version}, checkpoint "
        f"{second.checkpoint.manifest.version}. Give more of the id."
    )


@pytest.mark.parametrize("name", ["nope", "sco", ""])
def test_a_name_of_nothing_is_told_with_what_names_may_be(published, name):
    add_run(published, 1)
    with pytest.raises(SettingsError, match="Name latest, previous, ") as told:
        find_named(published.store, name)
    assert told.value.setting == name


def test_what_was_never_made_is_told(published):
    with pytest.raises(NoChampion):
        find_named(published.store, "champion")
    with pytest.raises(NotPublished):
        find_named(published.store, "latest")
    run = add_run(published, 1)
    with pytest.raises(SettingsError, match="no metrics before the latest say anything else"):
        find_named(published.store, "previous")
    (run.predictions.path / "manifest.json").unlink()
    with pytest.raises(SettingsError, match="the predictions that these metrics are of are gone"):
        find_named(published.store, "latest")
    with pytest.raises(SettingsError, match="the checkpoint check1 has answered nothing"):
        find_named(published.store, "check1")
