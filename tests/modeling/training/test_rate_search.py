from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modeling_world import Events, World, head_job, never
from pydantic import ValidationError

from vqa_pipeline.errors import SettingsError, TrainingCancelled
from vqa_pipeline.modeling.jobs import TrainJob
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.modeling.training.rate_search import RATES_FILE, RateSearch, TriedRate, find_rates, list_grid
from vqa_pipeline.modeling.training.train import train


def tried(rate: float, *accuracies: float, is_finite: bool = True) -> TriedRate:
    return TriedRate(learning_rate=rate, weight_decay=0.01, val_accuracies=accuracies, is_finite=is_finite)


def search(*members: TriedRate) -> RateSearch:
    return RateSearch(frozen="f", tried=members, seconds=1.0)


def test_the_best_epoch_of_a_member_counts() -> None:
    assert search(tried(1, 0.5, 0.6), tried(2, 0.7, 0.2), tried(3, 0.65, 0.65)).best.learning_rate == 2


def test_between_equals_the_one_nearer_to_the_default_is_chosen() -> None:
    assert search(tried(1, 0.5), tried(2, 0.5)).best.learning_rate == 1


def test_a_member_that_was_not_finite_is_never_chosen() -> None:
    assert search(tried(1, 0.9, is_finite=False), tried(2, 0.1)).best.learning_rate == 2


@given(st.floats(1e-6, 1.0), st.floats(0.0, 0.1))
def test_the_grid_is_around_the_default_and_begins_with_it(rate: float, decay: float) -> None:
    grid = list_grid(rate, decay)
    assert grid[0] == (rate, decay)
    assert len(set(grid)) == len(grid) == (14 if decay else 7)
    rates = [member.learning_rate for member in grid]
    assert min(rates) == pytest.approx(rate / 30)
    assert max(rates) == pytest.approx(rate * 30)


def test_what_was_found_is_not_searched_again(tmp_path: Path) -> None:
    path = tmp_path / "rate_search.json"
    first = find_rates(path, "f", lambda: (tried(1, 0.5), tried(2, 0.6)))
    assert find_rates(path, "f", lambda: pytest.fail("searched again")) == first
    assert find_rates(path, "other weights", lambda: (tried(3, 0.5),)).best.learning_rate == 3


def test_a_search_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    def stop() -> tuple[TriedRate, ...]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_rates(tmp_path / "rate_search.json", "f", stop)
    assert not list(tmp_path.iterdir())


def run(job: TrainJob) -> tuple[dict[str, Any], Events]:
    """What is told of the finished training, and its events."""
    events = Events()
    train(job, events, never)
    return json.loads((Path(job.output_folder) / "training.json").read_text()), events


def test_a_sane_rate_is_found_where_the_default_is_badly_wrong(world: World, trained: Path, tmp_path: Path) -> None:
    """And the training that follows is the best member over again."""
    wrong = {"epochs": 12, "head_learning_rate_factor": 1.0, "patience": 3}
    default, _ = run(head_job(world, trained, tmp_path / "default", learning_rate="default", **wrong))
    found, events = run(head_job(world, trained, tmp_path / "auto", learning_rate="auto", **wrong))
    assert default["best_val_accuracy"] < 0.2
    assert default["rate_search"] is None
    searched = found["rate_search"]
    assert searched["chosen"] == {"learning_rate": pytest.approx(3e-3), "weight_decay": 0.01}
    assert found["learnable"]["learning_rate"] == searched["chosen"]["learning_rate"]
    assert len(searched["tried"]) == 14
    [best] = [tried for tried in searched["tried"] if tried.items() >= searched["chosen"].items()]
    assert [point["val_accuracy"] for point in found["curve"]] == pytest.approx(best["val_accuracies"])
    assert found["best_val_accuracy"] == max(best["val_accuracies"]) >= 0.5
    told = "Of 14 rates and decays tried, rate 0.003 with decay 0.01 did best: 0.667."
    assert told in [event["message"] for event in events.named("log")]


def test_a_training_that_was_stopped_does_not_choose_again(world: World, trained: Path, tmp_path: Path) -> None:
    auto = {"learning_rate": "auto", "epochs": 2}
    straight, stopped = (head_job(world, trained, tmp_path / name, **auto) for name in ("straight", "stopped"))
    train(straight, Events(), never)
    chosen = Path(stopped.progress_folder) / stopped.fingerprint / RATES_FILE
    written = []
    for limit in range(5, 1000, 5):  # a stop is asked for by preparations, by each step of the search, then of training
        asked, events = iter(range(limit)), Events()
        with suppress(TrainingCancelled):
            train(stopped, events, lambda asked=asked: next(asked, None) is None)
        written.append(chosen.stat().st_mtime_ns if chosen.exists() else None)
        if events.named("finished"):
            break
    before, after = written.count(None), [when for when in written if when is not None]
    assert before > 2
    assert len(after) > 1
    assert len(set(after)) == 1
    weights = [Path(job.output_folder, "model.safetensors").read_bytes() for job in (straight, stopped)]
    assert weights[0] == weights[1]


def test_features_that_change_are_no_ground_to_search_on(world: World, trained: Path, tmp_path: Path) -> None:
    backbone = tmp_path / "backbone"
    shutil.copytree(trained / "checkpoint", backbone)
    config = json.loads((backbone / "config.json").read_text())
    (backbone / "config.json").write_text(json.dumps(config | {"hidden_dropout_prob": 0.1}))
    job = head_job(world, trained, tmp_path, learning_rate="auto")
    settings = job.settings.model_copy(update={"backbone": str(backbone)})
    with pytest.raises(SettingsError, match="dropout or patches drawn at random change them"):
        run(job.model_copy(update={"settings": settings}))


@pytest.mark.parametrize("strategy", ["full", "last_layers", "lora"])
def test_only_heads_are_searched_for(strategy: str) -> None:
    with pytest.raises(ValidationError, match="use strategy head"):
        TrainingSettings.model_validate({"backbone": "b", "strategy": strategy, "learning_rate": "auto"})
