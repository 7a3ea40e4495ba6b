from __future__ import annotations

import json
import socket
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from modeling_world import Events, World, never, question_row, train_job, write_questions
from safetensors.torch import load_file
from training_world import StopAt

from vqa_pipeline.answers.scoring import score_answer
from vqa_pipeline.errors import BackboneError, NonFiniteLoss, SettingsError, TrainingCancelled
from vqa_pipeline.modeling.training.train import train


def weights(folder: Path) -> bytes:
    return (folder / "checkpoint" / "model.safetensors").read_bytes()


def told(folder: Path) -> dict[str, object]:
    return json.loads((folder / "checkpoint" / "training.json").read_text())


GOLDEN_LOSSES = [3.45701, 3.44186, 3.34301, 3.33380, 3.31354]


def test_the_first_losses_are_golden(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when initialization, order, targets, loss or optimizer change: then raise STAGE_NUMBERS["checkpoint"]."""
    monkeypatch.setattr("vqa_pipeline.modeling.events._STEP_SECONDS", 0.0)
    events = Events()
    train(train_job(world, tmp_path, epochs=1), events, never)
    assert [event["loss"] for event in events.named("step")][:5] == pytest.approx(GOLDEN_LOSSES, rel=1e-3)


def test_a_resumed_training_ends_with_the_same_bits(world: World, trained: Path, tmp_path: Path) -> None:
    for asked in (1, 4, 5, 8, 10, 12, 14, 15, 18, 20):
        folder = tmp_path / str(asked)
        with pytest.raises(TrainingCancelled):
            train(train_job(world, folder), lambda event: None, StopAt(asked))
        train(train_job(world, folder), lambda event: None, never)
        assert weights(folder) == weights(trained), f"stopped when asked for the {asked}th time"
        straight, resumed = told(trained), told(folder)
        assert [point | {"seconds": 0} for point in resumed["curve"]] == [
            point | {"seconds": 0} for point in straight["curve"]
        ]


def test_stopping_again_and_again_changes_nothing(world: World, trained: Path, tmp_path: Path) -> None:
    events = Events()
    for _ in range(40):  # a run asks four times before its first step, twice in a validation, a dozen times at its end
        try:
            train(train_job(world, tmp_path), events, StopAt(13))
        except TrainingCancelled:
            continue
        break
    assert weights(tmp_path) == weights(trained)
    resumed = [event["resumed_from_step"] for event in events.named("started")]
    assert resumed[0] is None
    assert all(later is not None for later in resumed[1:])
    assert len(resumed) > 3


def test_a_stop_says_where_it_goes_on(world: World, tmp_path: Path) -> None:
    with pytest.raises(TrainingCancelled) as caught:
        train(train_job(world, tmp_path), lambda event: None, StopAt(8))
    assert caught.value.step > 0
    assert caught.value.checkpoint.is_dir()
    assert not (tmp_path / "checkpoint").exists()


def test_progress_is_saved_in_the_middle_of_an_epoch_too(world: World, tmp_path: Path) -> None:
    job = train_job(world, tmp_path, epochs=1, checkpoint_every_steps=2)
    with pytest.raises(TrainingCancelled):  # after four steps, which are saved too
        train(job, lambda event: None, StopAt(9))
    assert "step-00000002-epoch-0000" in [path.name for path in (tmp_path / "progress" / "ffffffff").iterdir()]


def test_another_fingerprint_starts_from_nothing(world: World, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingCancelled):
        train(train_job(world, tmp_path, "first"), lambda event: None, StopAt(10))
    events = Events()
    train(train_job(world, tmp_path, "second"), events, never)
    assert events.named("started")[0]["resumed_from_step"] is None


def test_a_finished_training_is_not_repeated_when_its_folder_is_lost(
    world: World, trained: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(trained / "progress", tmp_path / "progress")
    events = Events()
    train(train_job(world, tmp_path), events, never)
    assert events.named("step") == []
    assert weights(tmp_path) == weights(trained)


def test_the_same_job_gives_the_same_bits_and_another_seed_others(world: World, trained: Path, tmp_path: Path) -> None:
    train(train_job(world, tmp_path / "same"), lambda event: None, never)
    train(train_job(world, tmp_path / "other", seed=1), lambda event: None, never)
    assert weights(tmp_path / "same") == weights(trained)
    assert weights(tmp_path / "other") != weights(trained)


def test_events_tell_the_whole_story(world: World, tmp_path: Path) -> None:
    events = Events()
    train(train_job(world, tmp_path), events, never)
    assert {event["event"] for event in events.all[:2]} == {"progress", "started"}
    assert events.named("started")[0] == {
        "event": "started",
        "num_parameters": told(tmp_path)["learnable"]["num_parameters"],
        "num_learnable": told(tmp_path)["learnable"]["num_parameters"],
        "num_steps": 12,  # 18 questions on square and 18 on wide pictures, three batches each, two epochs
        "device": "cpu",
        "precision": "fp32",
        "resumed_from_step": None,
    }
    step = events.named("step")[0]
    assert set(step) == {
        *("event", "step", "epoch", "loss", "learning_rate", "gradient_norm", "questions_per_second", "eta_seconds"),
        *("data_wait_fraction", "host_memory_bytes", "gpu_memory_bytes"),
    }
    assert step["step"] == 1
    assert 0 < step["data_wait_fraction"] < 1
    assert [(event["epoch"], event["step"]) for event in events.named("epoch")] == [(1, 6), (2, 12)]
    assert events.all[-1]["event"] == "finished"
    assert events.all[-1]["num_steps"] == 12


def test_the_record_tells_what_was_done(world: World, trained: Path) -> None:
    record = told(trained)
    assert (record["num_train_questions"], record["num_val_questions"]) == (36, 6)
    assert record["num_steps"] == 12
    assert record["fingerprint"] == "ffffffff"
    assert record["backbone"] == record["settings"]["backbone"] == "tiny"
    assert (record["device"], record["precision"], record["threads"]) == ("cpu", "fp32", 1)
    assert {name: choice["value"] for name, choice in record["switches"].items()} == {
        "precision": "fp32",
        "threads": 1,
        "compile": False,
        "gradient_checkpointing": False,
    }
    assert record["learnable"]["learnable_fraction"] == 1.0
    assert set(record["packages"]) >= {"torch", "transformers"}
    best = max(record["curve"], key=lambda point: point["val_accuracy"])
    assert (record["best_epoch"], record["best_val_accuracy"]) == (best["epoch"], best["val_accuracy"])
    assert [point["step"] for point in record["curve"]] == [6, 12]
    assert all(earlier["seconds"] < later["seconds"] for earlier, later in pairwise(record["curve"]))


def test_validation_accuracy_is_that_of_the_stock_classes_and_the_metric(world: World, trained: Path) -> None:
    from io import BytesIO

    import pyarrow.parquet as pq
    from PIL import Image

    from vqa_pipeline.modeling.stock import ViltForQuestionAnswering, ViltProcessor

    model = ViltForQuestionAnswering.from_pretrained(trained / "checkpoint").eval()
    processor = ViltProcessor.from_pretrained(trained / "checkpoint")
    packed = {
        row["image_sha256"]: row["image"]["bytes"] for pack in world.packs for row in pq.read_table(pack).to_pylist()
    }
    earned = []
    for row in pq.read_table(world.questions("val")).to_pylist():
        picture = Image.open(BytesIO(packed[row["image_sha256"]]))
        with torch.no_grad():
            chosen = model(**processor(picture, row["question"], return_tensors="pt")).logits.argmax(-1).item()
        earned.append(score_answer(model.config.id2label[chosen], row["answers"], "normalized"))
    assert sum(earned) / len(earned) == pytest.approx(told(trained)["best_val_accuracy"])


def test_training_learns(world: World, tmp_path: Path) -> None:
    train(train_job(world, tmp_path, epochs=25, learning_rate=3e-3), lambda event: None, never)
    assert (
        told(tmp_path)["best_val_accuracy"] >= 0.8
    )  # always answering "yes" or the commonest colour earns less than half


def test_the_first_of_equally_good_epochs_is_kept(world: World, tmp_path: Path) -> None:
    train(train_job(world, tmp_path, epochs=3, learning_rate=1e-12), lambda event: None, never)
    assert told(tmp_path)["best_epoch"] == 1
    assert len(told(tmp_path)["curve"]) == 3  # tiny never stops early, whatever patience says


def test_a_pretrained_backbone_stops_when_it_gets_no_better(world: World, trained: Path, tmp_path: Path) -> None:
    job = train_job(world, tmp_path, backbone=str(trained / "checkpoint"), epochs=9, learning_rate=1e-12, patience=2)
    train(job, lambda event: None, never)
    assert [point["epoch"] for point in told(tmp_path)["curve"]] == [1, 2, 3]
    assert told(tmp_path)["num_steps"] == 18


def test_patience_zero_never_stops(world: World, trained: Path, tmp_path: Path) -> None:
    job = train_job(world, tmp_path, backbone=str(trained / "checkpoint"), epochs=5, learning_rate=1e-12, patience=0)
    train(job, lambda event: None, never)
    assert len(told(tmp_path)["curve"]) == 5


def test_head_leaves_the_trunk_bit_for_bit(world: World, trained: Path, tmp_path: Path) -> None:
    job = train_job(world, tmp_path, backbone=str(trained / "checkpoint"), strategy="head")
    train(job, lambda event: None, never)
    before = load_file(trained / "checkpoint" / "model.safetensors")
    after = load_file(tmp_path / "checkpoint" / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {f"classifier.{layer}.{kind}" for layer in (0, 1, 3) for kind in ("weight", "bias")}
    assert told(tmp_path)["learnable"]["names"] == sorted(changed)
    assert told(tmp_path)["backbone"].startswith("checkpoint@")


def test_no_absolute_path_is_stored(world: World, trained: Path, tmp_path: Path) -> None:
    train(train_job(world, tmp_path, backbone=str(trained / "checkpoint")), lambda event: None, never)
    for folder in (trained, tmp_path):
        for path in (folder / "checkpoint").iterdir():
            content = path.read_bytes()
            assert str(trained).encode() not in content, path
            assert str(tmp_path).encode() not in content, path


def test_tiny_needs_no_network(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("somebody went online")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    train(train_job(world, tmp_path, epochs=1), lambda event: None, never)


def test_a_rate_that_no_halving_mends_fails_and_publishes_nothing(world: World, tmp_path: Path) -> None:
    job = train_job(world, tmp_path, learning_rate=1e30, warmup_fraction=0.0)
    with pytest.raises(NonFiniteLoss) as caught:
        train(job, lambda event: None, never)
    error = caught.value
    assert (error.step, error.epoch) == (12, 2)
    assert error.learning_rate == pytest.approx(1e30 / 12 / 2)
    assert all(question_id.startswith("w/") for question_id in error.question_ids)
    assert error.review == tmp_path / "progress" / "ffffffff" / "corrections"
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize("split", ["train", "val"])
def test_nothing_to_learn_from_is_said(world: World, tmp_path: Path, split: str) -> None:
    empty = write_questions(tmp_path / "empty.parquet", [question_row("w/1", "what?", ["red"], None)])
    job = train_job(world, tmp_path).model_copy(update={f"{split}_questions": (str(empty),)})
    with pytest.raises(SettingsError, match=f"no {split} question has both an image and answers"):
        train(job, lambda event: None, never)


def test_long_questions_are_mentioned(world: World, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    rows = pq.read_table(world.questions("train")).to_pylist()
    rows[0]["question"] = "what " * 50
    long = write_questions(tmp_path / "long.parquet", rows)
    events = Events()
    job = train_job(world, tmp_path, epochs=1).model_copy(update={"train_questions": (str(long),)})
    train(job, events, never)
    told = [event["message"] for event in events.named("log")]
    assert told.count("1 train questions are longer than 40 tokens and are cut.") == 1


FOREIGN = ("что это", "какой цвет", "это красный")
"""Six words of a script that the world's own questions do not have."""


def write_foreign(folder: Path, world: World, split: str) -> str:
    """A split's questions in another script."""
    import pyarrow.parquet as pq

    rows = pq.read_table(world.questions(split)).to_pylist()
    asked = [{**row, "question": FOREIGN[number % 3]} for number, row in enumerate(rows)]
    return str(write_questions(folder / "foreign.parquet", asked))


def test_validation_questions_in_another_script_count_and_are_mentioned(world: World, tmp_path: Path) -> None:
    events = Events()
    changed = {"val_questions": (write_foreign(tmp_path, world, "val"),)}
    train(train_job(world, tmp_path, epochs=1).model_copy(update=changed), events, never)
    assert told(tmp_path)["num_val_questions"] == 6
    lost = "The tokenizer does not know 12 of 12 words of the val questions; the model cannot tell these words apart."
    assert [event["message"] for event in events.named("log")].count(lost) == 1


def test_a_backbone_for_another_script_than_the_training_questions_is_refused(
    world: World, trained: Path, tmp_path: Path
) -> None:
    changed = {"train_questions": (write_foreign(tmp_path, world, "train"),)}
    job = train_job(world, tmp_path, backbone=str(trained / "checkpoint")).model_copy(update=changed)
    with pytest.raises(BackboneError, match=r"knows only 0 of \d+ words of the training questions"):
        train(job, lambda event: None, never)
    assert not (tmp_path / "checkpoint").exists()


def test_layers_computed_twice_give_the_same_checkpoint(world: World, trained: Path, tmp_path: Path) -> None:
    train(train_job(world, tmp_path, gradient_checkpointing="always"), lambda event: None, never)
    assert weights(tmp_path) == weights(trained)
    assert told(tmp_path)["switches"]["gradient_checkpointing"] == {"value": True, "reason": "asked for"}


@pytest.mark.slow
def test_a_compiled_training_is_the_same_training(world: World, trained: Path, tmp_path: Path) -> None:
    """Compiled for real, which takes a CPU minutes."""
    train(train_job(world, tmp_path, compile="always"), lambda event: None, never)
    assert told(tmp_path)["switches"]["compile"] == {"value": True, "reason": "asked for"}
    losses = [[point["loss"] for point in told(folder)["curve"]] for folder in (trained, tmp_path)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_switches_are_logged_with_their_reasons(world: World, tmp_path: Path) -> None:
    events = Events()
    train(train_job(world, tmp_path, epochs=1, compile="never"), events, never)
    logged = [event["message"] for event in events.named("log")]
    assert {"threads: 1 (asked for)", "compile: off (asked for)"} <= set(logged)


def test_damaged_progress_is_passed_over_and_mentioned(world: World, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingCancelled) as caught:
        train(train_job(world, tmp_path), lambda event: None, StopAt(16))
    (caught.value.checkpoint / "weights.safetensors").write_bytes(b"")
    events = Events()
    train(train_job(world, tmp_path), events, never)
    assert "weights.safetensors is damaged" in events.named("log")[0]["message"]
    assert weights(tmp_path) == weights(trained)


def test_curves_are_written_for_tensorboard(trained: Path) -> None:
    assert list((trained / "progress" / "ffffffff" / "tensorboard").glob("events.out.tfevents.*"))


def test_the_validation_score_is_told_by_type_of_answer_and_weighted_it_is_the_whole(
    world: World, tmp_path: Path
) -> None:
    events = Events()
    train(train_job(world, tmp_path, epochs=1), events, never)
    [point] = told(tmp_path)["curve"]
    assert point["val_by_answer_type"].keys() == {"other", "yes/no"}
    assert sum(point["val_by_answer_type"].values()) / 2 == pytest.approx(point["val_accuracy"])  # as many of each
    [epoch] = events.named("epoch")
    assert epoch["val_by_answer_type"] == point["val_by_answer_type"]
    assert epoch.keys() >= {"step", "loss", "learning_rate", "seconds", "best"}
    validating = [event for event in events.named("progress") if event["task"] == "validating"]
    assert validating[-1]["done"] == validating[-1]["total"] == told(tmp_path)["num_val_questions"]
    first = events.named("step")[0]
    assert first["gradient_norm"] > 0
    assert first["host_memory_bytes"] > 50e6
    assert first["gpu_memory_bytes"] is None
