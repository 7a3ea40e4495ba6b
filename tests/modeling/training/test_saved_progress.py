from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from full_disk import files_of_at_most

from vqa_pipeline.errors import DiskError
from vqa_pipeline.modeling.training.saved_progress import SavedProgress
from vqa_pipeline.modeling.training.state import Best, CurvePoint, TrainingState

POINT = CurvePoint(epoch=1, step=2, loss=0.5, learning_rate=1e-3, val_accuracy=0.25, seconds=1.5)


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((2, 3), value)}


def state(step: int, **changes) -> TrainingState:
    return TrainingState(fingerprint="abc", step=step, epoch_loss=0.1 + 0.2, **changes)


@pytest.fixture
def progress(tmp_path: Path) -> SavedProgress:
    return SavedProgress(tmp_path, "abc")


def save(progress: SavedProgress, step: int, **changes) -> Path:
    return progress.save(state(step, **changes), tensors(step), {"weight/step": torch.tensor(float(step))})


def test_what_was_saved_comes_back_exactly(progress: SavedProgress) -> None:
    file, digest = progress.save_best(2, tensors(7))
    best = Best(epoch=1, step=2, val_accuracy=0.25, file=file, digest=digest)
    path = save(progress, 3, curve=(POINT,), best=best, seconds=2.5)
    saved = progress.load()
    assert saved.path == path
    assert saved.state == state(3, curve=(POINT,), best=best, seconds=2.5)
    assert torch.equal(saved.weights["weight"], torch.full((2, 3), 3.0))
    assert saved.optimizer["weight/step"].item() == 3.0
    assert torch.equal(progress.load_best(saved.state.best)["weight"], torch.full((2, 3), 7.0))


def test_nothing_saved_is_none(progress: SavedProgress) -> None:
    assert progress.load() is None


def test_the_last_two_are_kept(progress: SavedProgress) -> None:
    for step in (1, 2, 10):
        save(progress, step)
    assert [path.name for path in sorted(progress.folder.iterdir())] == [
        "step-00000002-epoch-0000",
        "step-00000010-epoch-0000",
    ]


def test_after_an_epoch_s_validation_the_same_step_counts_as_newer(progress: SavedProgress) -> None:
    save(progress, 2, curve=(POINT,))
    save(progress, 2)
    assert progress.load().state.curve == (POINT,)


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json", "digests.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_a_damaged_newest_falls_back_to_the_one_before(progress: SavedProgress, name: str, damage: str) -> None:
    save(progress, 1)
    path = save(progress, 2) / name
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    assert progress.load().state.step == 1
    assert len(progress.skipped) == 1
    assert progress.skipped[0].startswith("step-00000002-epoch-0000: ")


def test_damaged_best_weights_make_their_progress_damaged(progress: SavedProgress) -> None:
    save(progress, 1)
    file, digest = progress.save_best(2, tensors(7))
    save(progress, 2, best=Best(epoch=1, step=2, val_accuracy=0.5, file=file, digest=digest))
    (progress.folder / file).write_bytes(b"")
    assert progress.load().state.step == 1
    assert progress.skipped == [f"step-00000002-epoch-0000: {file} is damaged"]


def test_progress_of_another_training_is_never_resumed(tmp_path: Path) -> None:
    save(SavedProgress(tmp_path, "abc"), 5)
    assert SavedProgress(tmp_path, "other").load() is None
    (tmp_path / "abc" / "step-00000005-epoch-0000").rename(tmp_path / "other" / "step-00000005-epoch-0000")
    moved = SavedProgress(tmp_path, "other")
    assert moved.load() is None
    assert moved.skipped == ["step-00000005-epoch-0000: it belongs to training abc"]


def test_what_a_kill_left_unfinished_is_swept_away(progress: SavedProgress) -> None:
    save(progress, 1)
    (progress.folder / ".step-00000002-epoch-0000").mkdir()
    (progress.folder / ".best-00000002.safetensors").write_bytes(b"half")
    assert progress.load().state.step == 1
    assert [path.name for path in progress.folder.iterdir()] == ["step-00000001-epoch-0000"]


def test_best_weights_stay_as_long_as_a_kept_progress_needs_them(progress: SavedProgress) -> None:
    for step in (1, 2, 3):
        file, digest = progress.save_best(step, tensors(step))
        save(progress, step, best=Best(epoch=step, step=step, val_accuracy=0.5, file=file, digest=digest))
    assert sorted(path.name for path in progress.folder.glob("best-*")) == [
        "best-00000002.safetensors",
        "best-00000003.safetensors",
    ]
    progress.prune(kept=1)
    assert sorted(path.name for path in progress.folder.iterdir()) == [
        "best-00000003.safetensors",
        "step-00000003-epoch-0000",
    ]


def test_what_to_return_to_is_kept_as_long_as_a_kept_progress_refers_to_it(progress: SavedProgress) -> None:
    good = save(progress, 1, good=state(1).name).name
    for step in (2, 3, 4):
        save(progress, step, good=good)
    assert sorted(path.name for path in progress.folder.iterdir()) == [state(step).name for step in (1, 3, 4)]
    assert progress.load_good(good).state.step == 1
    save(progress, 5, good=state(5).name)
    save(progress, 6, good=state(5).name)
    assert sorted(path.name for path in progress.folder.iterdir()) == [state(5).name, state(6).name]


def test_progress_whose_return_is_damaged_is_damaged(progress: SavedProgress) -> None:
    save(progress, 1)
    save(progress, 2, good=state(1).name)
    save(progress, 3, good=state(2).name)
    (progress.folder / state(2).name / "weights.safetensors").write_bytes(b"")
    assert progress.load().state.step == 1
    assert [told.partition(":")[0] for told in progress.skipped] == [state(3).name, state(2).name]


def test_progress_with_another_backbone_s_weights_below_is_never_resumed(progress: SavedProgress) -> None:
    save(progress, 1, frozen="one")
    assert progress.load("one").state.step == 1
    assert progress.load("another") is None
    assert progress.skipped == ["step-00000001-epoch-0000: it belongs to another backbone"]


def test_a_damaged_progress_is_made_again(progress: SavedProgress) -> None:
    path = save(progress, 1)
    (path / "weights.safetensors").write_bytes(b"")
    assert progress.load() is None
    assert save(progress, 1) == path
    assert progress.load().state.step == 1


@pytest.mark.parametrize("what", ["save", "save_best"])
def test_a_full_disk_is_named_and_what_was_saved_stays(progress: SavedProgress, what: str) -> None:
    save(progress, 1)
    large = {"weight": torch.zeros(1000)}
    with files_of_at_most(1000), pytest.raises(DiskError) as refused:
        progress.save(state(2), large, {}) if what == "save" else progress.save_best(2, large)
    assert refused.value.path.parent == progress.folder
    assert [path.name for path in progress.folder.iterdir()] == [state(1).name]
    assert progress.load().state.step == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(progress: SavedProgress) -> None:
    save(progress, 1)
    progress.folder.chmod(0o500)
    with pytest.raises(DiskError, match="Permission denied"):
        save(progress, 2)
    progress.folder.chmod(0o700)
    assert progress.load().state.step == 1


def test_a_place_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "progress").write_text("a file")
    with pytest.raises(DiskError, match="progress"):
        SavedProgress(tmp_path / "progress", "abc")


def test_nothing_is_pickled(progress: SavedProgress) -> None:
    path = save(progress, 1)
    assert {file.suffix for file in path.iterdir()} == {".safetensors", ".json"}
    assert json.loads((path / "state.json").read_text())["epoch_loss"] == 0.1 + 0.2
