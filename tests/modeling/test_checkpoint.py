from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from modeling_world import VOCABULARY
from safetensors.torch import load_file, save_file

from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.errors import BackboneError, VocabularyMismatch
from vqa_pipeline.modeling.checkpoint import load_checkpoint, save_checkpoint

OTHER = AnswerVocabulary(answers=("no", "yes", "blue", "green", "red"), counts=(9, 8, 5, 5, 5))


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")


def test_it_loads_with_the_stock_classes(trained: Path) -> None:
    from transformers import ViltForQuestionAnswering, ViltProcessor

    model = ViltForQuestionAnswering.from_pretrained(trained / "checkpoint")
    processor = ViltProcessor.from_pretrained(trained / "checkpoint")
    assert model.config.architectures == ["ViltForQuestionAnswering"]
    assert model.config.id2label == {0: "yes", 1: "no", 2: "blue", 3: "green", 4: "red"}
    assert model.config.label2id == {"yes": 0, "no": 1, "blue": 2, "green": 3, "red": 4}
    assert model.config.vocabulary_fingerprint == VOCABULARY.fingerprint
    assert processor.tokenizer.tokenize("What color is it?") == ["what", "color", "is", "it", "?"]


def test_the_folder_has_these_files_and_no_others(trained: Path) -> None:
    assert sorted(path.name for path in (trained / "checkpoint").iterdir()) == [
        "calibration.json",
        "config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
        "vocabulary.json",
    ]
    assert sorted(path.name for path in trained.iterdir()) == ["checkpoint", "progress"]


def test_it_comes_back_as_it_was(folder: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(folder, VOCABULARY)
    assert checkpoint.vocabulary == VOCABULARY
    save_checkpoint(checkpoint, lambda folder: {"fingerprint": "f"}, tmp_path / "again")
    for name in ("model.safetensors", "config.json", "processor_config.json", "vocabulary.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name


def test_an_existing_folder_is_replaced_as_a_whole(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "stale.txt").write_text("old")
    save_checkpoint(load_checkpoint(folder), lambda folder: {}, target)
    assert not (target / "stale.txt").exists()
    assert (target / "model.safetensors").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "target"]


def test_a_failure_leaves_what_was_there(folder: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in folder.iterdir())
    checkpoint = load_checkpoint(folder)
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(checkpoint, lambda folder: {"loss": float("nan")}, folder)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_another_vocabulary_is_refused_with_both_fingerprints(folder: Path) -> None:
    with pytest.raises(VocabularyMismatch) as caught:
        load_checkpoint(folder, OTHER)
    assert caught.value.checkpoint == VOCABULARY.fingerprint
    assert caught.value.vocabulary == OTHER.fingerprint


def test_an_exchanged_vocabulary_file_is_refused(folder: Path) -> None:
    (folder / "vocabulary.json").write_text(OTHER.to_json())
    with pytest.raises(VocabularyMismatch):
        load_checkpoint(folder)


def test_a_checkpoint_without_fingerprint_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["vocabulary_fingerprint"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(VocabularyMismatch, match="trained with answer vocabulary none"):
        load_checkpoint(folder)


def test_missing_weights_are_not_made_up(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.3.bias"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BackboneError, match="1 tensors are missing"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "processor_config.json", "vocabulary.json"]
)
def test_a_damaged_or_missing_file_is_a_clear_error(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"{")
    with pytest.raises(BackboneError, match="checkpoint: it is not a checkpoint"):
        load_checkpoint(folder)
    (folder / name).unlink()
    with pytest.raises(BackboneError, match="checkpoint: it is not a checkpoint"):
        load_checkpoint(folder)


def test_weights_are_fp32(folder: Path) -> None:
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.float32}


def test_what_a_killed_run_left_unfinished_is_swept_away(folder: Path, tmp_path: Path) -> None:
    for left in (".target.unfinished", ".target.replaced"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "stale.txt").write_text("old")
    save_checkpoint(load_checkpoint(folder), lambda folder: {}, tmp_path / "target")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "target"]
    assert not (tmp_path / "target" / "stale.txt").exists()
