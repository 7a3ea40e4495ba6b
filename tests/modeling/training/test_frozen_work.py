from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from modeling_world import Events, World, head_job, never

from vqa_pipeline.errors import TrainingCancelled
from vqa_pipeline.modeling.jobs import TrainJob
from vqa_pipeline.modeling.training.train import train


def run(job: TrainJob) -> Events:
    events = Events()
    train(job, events, never)
    return events


def weights(job: TrainJob) -> bytes:
    return (Path(job.output_folder) / "model.safetensors").read_bytes()


def count_computed(events: Events) -> int:
    """Questions that went through the trunk to be kept."""
    told = [event for event in events.named("progress") if event["task"] == "computing hidden states"]
    return sum(event["total"] for event in told if event["done"] == event["total"])


HEAD = {"strategy": "head"}
LAST_LAYER = {"strategy": "last_layers", "layers": 1}


@pytest.mark.parametrize(("strategy", "depth"), [(HEAD, 2), (LAST_LAYER, 1)])
def test_cached_or_not_a_training_ends_with_the_same_bits(
    world: World, trained: Path, tmp_path: Path, strategy: dict[str, Any], depth: int
) -> None:
    cached = head_job(world, trained, tmp_path / "cached", **strategy)
    uncached = head_job(world, trained, tmp_path / "uncached", **strategy, cache="never")
    cramped = head_job(world, trained, tmp_path / "cramped", **strategy, cache_gigabytes=2e-6)
    assert count_computed(run(cached)) == 24 + 6  # of 36 for training, 12 ask the same of the same image
    assert count_computed(run(uncached)) == 0
    messages = [event["message"] for event in run(cramped).named("log")]
    once = f"The embeddings and {depth} of 2 layers do not learn; what they make of a question is computed once."
    assert once in messages
    assert any("has no room for the hidden states of" in message for message in messages)
    assert weights(cached) == weights(uncached) == weights(cramped)
    assert not (tmp_path / "uncached" / "cache" / "trunk").exists()
    jobs = (cached, uncached, cramped)
    kept = [json.loads((Path(job.output_folder) / "training.json").read_bytes())["frozen_work"] for job in jobs]
    assert [work["num_layers"] for work in kept] == [depth] * 3
    assert [work["num_questions"] for work in kept] == [42] * 3
    assert [work["num_cached"] for work in kept[:2]] == [42, 0]
    assert 0 < kept[2]["num_cached"] < 42


@pytest.mark.parametrize("strategy", [HEAD, LAST_LAYER])
def test_a_stopped_training_goes_on_to_the_same_bits(
    world: World, trained: Path, tmp_path: Path, strategy: dict[str, Any]
) -> None:
    straight = head_job(world, trained, tmp_path / "straight", **strategy)
    stopped = head_job(world, trained, tmp_path / "stopped", **strategy)
    run(straight)
    asked = iter(range(1000))
    for limit in (30, 120, 1000):  # while hidden states are computed, while it trains, never
        with suppress(TrainingCancelled):
            train(stopped, Events(), lambda limit=limit: next(asked) >= limit)
    assert weights(stopped) == weights(straight)


def test_the_next_training_neither_computes_hidden_states_nor_decodes_images(
    world: World, trained: Path, tmp_path: Path
) -> None:
    run(head_job(world, trained, tmp_path))
    shutil.rmtree(tmp_path / "cache" / "pixels")
    again = head_job(world, trained, tmp_path, seed=1).model_copy(update={"fingerprint": "other"})
    assert count_computed(run(again)) == 0
    assert not (tmp_path / "cache" / "pixels").exists()


def test_dropout_below_the_cut_is_told(world: World, trained: Path, tmp_path: Path) -> None:
    backbone = tmp_path / "backbone"
    shutil.copytree(trained / "checkpoint", backbone)
    config = json.loads((backbone / "config.json").read_text())
    (backbone / "config.json").write_text(json.dumps(config | {"hidden_dropout_prob": 0.1}))
    job = head_job(world, trained, tmp_path, epochs=1)
    settings = job.settings.model_copy(update={"backbone": str(backbone)})
    told = (
        "The embeddings and 2 of 2 layers do not learn; what they make of a question is computed in every epoch all "
        "the same: dropout of 0.1 makes it other every time."
    )
    assert told in [event["message"] for event in run(job.model_copy(update={"settings": settings})).named("log")]
    assert not (tmp_path / "cache" / "trunk").exists()


@pytest.mark.parametrize("strategy", ["full", "projection", "lora"])
def test_where_everything_learns_nothing_is_kept(world: World, trained: Path, tmp_path: Path, strategy: str) -> None:
    job = head_job(world, trained, tmp_path, epochs=1)
    run(job.model_copy(update={"settings": job.settings.model_copy(update={"strategy": strategy})}))
    assert not (tmp_path / "cache" / "trunk").exists()
