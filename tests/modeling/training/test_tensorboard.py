"""The files that TensorBoard reads, read as it reads them."""

from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vqa_pipeline.modeling.training.tensorboard import TensorBoard

STARTED = {"event": "started", "resumed_from_step": None}
EPOCH = {
    "event": "epoch",
    "step": 3,
    "loss": 3.25,
    "val_accuracy": 0.75,
    "val_by_answer_type": {"number": 0.5, "yes/no": 1.0},
}


def step(number: int, loss: float) -> dict[str, object]:
    return {
        "event": "step",
        "step": number,
        "loss": loss,
        "learning_rate": 0.125,
        "gradient_norm": 2.0,
        "questions_per_second": 120.0,
        "data_wait_fraction": 0.25,
        "host_memory_bytes": 2**30,
        "gpu_memory_bytes": None,
    }


def read_curves(folder: Path) -> dict[str, dict[int, float]]:
    accumulator = EventAccumulator(str(folder)).Reload()
    tags = accumulator.Tags()["scalars"]
    return {tag: {scalar.step: scalar.value for scalar in accumulator.Scalars(tag)} for tag in tags}


def test_every_number_of_steps_and_epochs_is_a_curve_and_what_a_machine_lacks_is_none(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    for event in (STARTED, step(1, 4.0), EPOCH, {"event": "log", "message": "by the way"}):
        board(event)
    board.close()
    assert read_curves(tmp_path) == {
        "train/loss": {1: 4.0},
        "train/learning_rate": {1: 0.125},
        "train/gradient_norm": {1: 2.0},
        "speed/questions_per_second": {1: 120.0},
        "speed/data_wait_fraction": {1: 0.25},
        "memory/host_bytes": {1: 2**30},
        "train/epoch_loss": {3: 3.25},
        "val/accuracy": {3: 0.75},
        "val/accuracy/number": {3: 0.5},
        "val/accuracy/yes/no": {3: 1.0},
    }


def test_a_resumed_curve_overwrites_what_came_after(tmp_path: Path) -> None:
    first = TensorBoard(tmp_path)
    for event in (STARTED, step(1, 4.0), step(2, 3.0), step(3, 2.5), EPOCH):
        first(event)
    first.close()
    assert read_curves(tmp_path)["train/loss"] == {1: 4.0, 2: 3.0, 3: 2.5}
    second = TensorBoard(tmp_path)
    for event in (STARTED | {"resumed_from_step": 1}, step(2, 0.5)):
        second(event)
    second.close()
    assert read_curves(tmp_path)["train/loss"] == {1: 4.0, 2: 0.5}


def test_nothing_is_written_before_a_training_starts(tmp_path: Path) -> None:
    TensorBoard(tmp_path).close()
    assert list(tmp_path.iterdir()) == []
