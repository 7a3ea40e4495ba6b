"""A checkpoint that does not answer as the model that was trained is found before anybody uses it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from modeling_world import VOCABULARY, World, never, train_job
from safetensors.torch import load_file, save_file
from training_world import CPU

from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.errors import TrainingCancelled
from vqa_pipeline.modeling.checkpoint import load_checkpoint
from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.prediction import Answering
from vqa_pipeline.modeling.questions import Asked, read_validation
from vqa_pipeline.modeling.training.calibrating import BestAnswers
from vqa_pipeline.modeling.training.reloading import NUM_QUESTIONS, Reading, Reloaded, compare_reloaded
from vqa_pipeline.modeling.training.train import train

OTHER_ORDER = AnswerVocabulary(answers=("no", "yes", "blue", "green", "red"), counts=(9, 8, 5, 5, 5))


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint")


def compare(world: World, folder: Path, *, as_trained: Path, vocabulary: AnswerVocabulary = VOCABULARY) -> Reloaded:
    """Compare a folder with what the checkpoint that was written answers."""
    asked, _ = read_validation([world.questions("val")], VOCABULARY, "normalized")
    reading = read_with(world, folder.parent, asked)
    trained = load_checkpoint(as_trained)
    answering = Answering(trained, CPU, 1, 4, folder.parent / "cache", lambda event: None)
    answered = answering.answer("val", asked, reading.packs, never)
    scores = answered.scores[:, 0].astype(np.float64)
    best = BestAnswers(np.log(scores / (1 - scores)), np.zeros(len(asked)), answered.indexes[:, 0].astype(np.int64))
    return compare_reloaded(folder, vocabulary, asked, best, reading, never)


def read_with(world: World, scratch: Path, asked: Asked) -> Reading:
    packs = ImagePacks([Path(pack) for pack in train_job(world, scratch).image_packs], sorted(set(asked.shas)))
    return Reading(CPU, 1, 4, packs)


def change_weights(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("strategy", ["head", "last_layers", "lora", "full"])
def test_every_strategy_s_checkpoint_answers_as_it_did_at_training(
    world: World, trained: Path, tmp_path: Path, strategy: str
) -> None:
    backbone = str(trained / "checkpoint")
    train(train_job(world, tmp_path, backbone=backbone, strategy=strategy, epochs=1), lambda event: None, never)
    told = json.loads((tmp_path / "checkpoint" / "training.json").read_bytes())["reloaded"]
    assert told["problem"] is None
    assert told["num_same_answers"] == told["num_questions"] > 0
    assert told["largest_difference"] < 1e-4


def test_it_asks_questions_from_all_over_the_validation_split(world: World, trained: Path, folder: Path) -> None:
    asked, _ = read_validation([world.questions("val")], VOCABULARY, "normalized")
    found = compare(world, folder, as_trained=trained / "checkpoint")
    assert found.num_questions == min(len(asked), NUM_QUESTIONS) > 4
    assert found.problem is None


def test_a_changed_bias_is_found(world: World, trained: Path, folder: Path) -> None:
    def change(weights: dict[str, torch.Tensor]) -> None:
        weights["classifier.3.bias"] += 0.02

    change_weights(folder, change)
    found = compare(world, folder, as_trained=trained / "checkpoint")
    assert found.num_same_answers == found.num_questions
    assert found.largest_difference == pytest.approx(0.005, abs=0.004)
    assert "scores differ by up to 0.00" in found.problem
    assert "run it again" in found.problem


def test_answers_that_changed_places_are_found(world: World, trained: Path, folder: Path) -> None:
    def change(weights: dict[str, torch.Tensor]) -> None:
        for name in ("classifier.3.bias", "classifier.3.weight"):
            weights[name] = weights[name].flip(0).contiguous()

    change_weights(folder, change)
    found = compare(world, folder, as_trained=trained / "checkpoint")
    assert found.largest_difference < 1e-4, "the scores alone do not tell"
    assert found.num_same_answers < found.num_questions / 2
    assert (
        f"it gives {found.num_same_answers} of {found.num_questions} validation questions the same answer"
        in found.problem
    )


def test_weights_that_are_no_numbers_are_found(world: World, trained: Path, folder: Path) -> None:
    def change(weights: dict[str, torch.Tensor]) -> None:
        weights["classifier.3.bias"] *= float("nan")

    change_weights(folder, change)
    assert compare(world, folder, as_trained=trained / "checkpoint").problem is not None


def test_another_vocabulary_is_found(world: World, trained: Path, folder: Path) -> None:
    found = compare(world, folder, as_trained=trained / "checkpoint", vocabulary=OTHER_ORDER)
    assert (found.num_same_answers, found.largest_difference) == (0, 1.0)
    assert found.problem.startswith("it cannot be read: ")


def test_a_processor_that_sees_other_pixels_is_found(world: World, trained: Path, folder: Path) -> None:
    config = json.loads((folder / "processor_config.json").read_bytes())
    config["image_processor"]["image_mean"] = [0.0, 0.5, 0.5]
    (folder / "processor_config.json").write_text(json.dumps(config))
    assert compare(world, folder, as_trained=trained / "checkpoint").problem is not None


def test_whoever_asks_to_stop_meanwhile_is_told_where_it_goes_on(world: World, trained: Path, tmp_path: Path) -> None:
    asked, _ = read_validation([world.questions("val")], VOCABULARY, "normalized")
    best = BestAnswers(np.zeros(len(asked)), np.zeros(len(asked)), np.zeros(len(asked), np.int64))
    with pytest.raises(TrainingCancelled):
        compare_reloaded(
            trained / "checkpoint", VOCABULARY, asked, best, read_with(world, tmp_path, asked), lambda: True
        )
