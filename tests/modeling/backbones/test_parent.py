"""Warm starts: what was known stays known, by what answers say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from modeling_world import Events, World, head_job, never, settings, train_job

from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.errors import BackboneError
from vqa_pipeline.modeling.backbone_files import digest_backbone
from vqa_pipeline.modeling.backbones import Backbone, Materials, build_backbone
from vqa_pipeline.modeling.batches import Batch
from vqa_pipeline.modeling.checkpoint import load_checkpoint
from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.training.train import train

GROWN = AnswerVocabulary(answers=("maybe", "red", "yes", "no", "pink"), counts=(9, 5, 5, 4, 1))
"""The parent's are yes, no, blue, green, red."""


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained / "checkpoint", tmp_path / "my-parent")


def build(world: World, parent: Path | str, vocabulary: AnswerVocabulary = GROWN, **changes) -> Backbone:
    materials = Materials(vocabulary, ["what color is it?"] * 24, ImagePacks(world.packs, []), [])
    return build_backbone(settings(warm_start=str(parent), **changes), materials)


def ask(model, processor) -> torch.Tensor:
    tokens = processor.tokenizer("is it red?", return_tensors="pt")["input_ids"]
    pixels = torch.rand(3, 3, 16, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        batch = Batch(tokens.repeat(3, 1), None, pixels, None)
        return model.eval().answer(model.encode(batch, 0), 0)


def test_every_answer_that_was_known_gets_the_logit_that_it_got(world: World, folder: Path) -> None:
    parent, child = load_checkpoint(folder), build(world, folder)
    before, after = ask(parent.model, parent.processor), ask(child.model, child.processor)
    for answer in ("red", "yes", "no"):
        old, new = parent.vocabulary.index_of(answer), GROWN.index_of(answer)
        torch.testing.assert_close(after[:, new], before[:, old], rtol=0, atol=1e-6)


def test_all_but_the_last_layer_is_the_parent_s_own(world: World, folder: Path) -> None:
    before, after = load_checkpoint(folder).model.state_dict(), build(world, folder).model.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"classifier.3.weight", "classifier.3.bias"}


def test_it_is_told_what_became_of_the_answers(world: World, folder: Path) -> None:
    backbone = build(world, folder)
    assert backbone.inheritance == {"num_copied": 3, "num_new": 2, "num_dropped": 2}
    assert backbone.name == f"my-parent@{digest_backbone(folder)[:12]}"


def test_a_new_answer_is_as_likely_as_it_is_frequent(world: World, folder: Path) -> None:
    bias = build(world, folder).model.classifier[-1].bias
    assert torch.sigmoid(bias[[0, 4]]).tolist() == pytest.approx([9.5 / 25, 1.5 / 25])


def test_answers_are_those_of_the_new_vocabulary(world: World, folder: Path) -> None:
    config = build(world, folder).model.config
    assert config.id2label == dict(enumerate(GROWN.answers))
    assert config.label2id["pink"] == 4


def test_answers_of_a_checkpoint_from_elsewhere_are_known_by_its_labels(world: World, folder: Path) -> None:
    (folder / "vocabulary.json").unlink()
    config = json.loads((folder / "config.json").read_bytes())
    config["id2label"] |= {"1": "The red.", "4": "Red"}  # both say red; the first is meant
    (folder / "config.json").write_text(json.dumps(config))
    child, parent = build(world, folder), load_file(folder)
    assert child.inheritance == {"num_copied": 2, "num_new": 3, "num_dropped": 2}
    weight = child.model.classifier[-1].weight
    assert torch.equal(weight[GROWN.index_of("red")], parent["classifier.3.weight"][1])


def load_file(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("strategy", ["head", "last_layers", "full"])
def test_every_strategy_may_follow_though_the_backbone_is_tiny(world: World, folder: Path, strategy: str) -> None:
    assert build(world, folder, strategy=strategy).may_stop_early


def test_a_parent_that_knows_none_of_the_answers_is_no_parent(world: World, folder: Path) -> None:
    other = AnswerVocabulary(answers=("maybe",), counts=(1,))
    with pytest.raises(BackboneError, match="none of its answers is in the vocabulary"):
        build(world, folder, other)


def test_a_model_without_head_is_no_parent(world: World, folder: Path) -> None:
    from safetensors.torch import save_file

    weights = {name: weight for name, weight in load_file(folder).items() if not name.startswith("classifier.")}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BackboneError, match="no head of its own: 6 tensors such as classifier"):
        build(world, folder)


def test_a_folder_that_is_not_there_is_told(world: World, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="no-such"):
        build(world, tmp_path / "no-such")


def test_a_warm_training_is_recorded_without_its_parent_s_path(world: World, trained: Path, tmp_path: Path) -> None:
    parent, events = str(trained / "checkpoint"), Events()
    job = train_job(world, tmp_path, warm_start=parent, strategy="last_layers", layers=1, epochs=1)
    train(job, events, never)
    told = json.loads((tmp_path / "checkpoint" / "training.json").read_bytes())
    assert told["warm_start"] == {"num_copied": 5, "num_new": 0, "num_dropped": 0}
    assert told["settings"]["warm_start"] == told["backbone"]
    assert str(trained) not in json.dumps(told)
    said = [event["message"] for event in events.named("log")]
    assert any("5 answers keep their rows, 0 are new, 0 are dropped" in message for message in said)


def test_a_training_without_parent_says_so(world: World, trained: Path, tmp_path: Path) -> None:
    train(head_job(world, trained, tmp_path, epochs=1), Events(), never)
    assert json.loads((tmp_path / "checkpoint" / "training.json").read_bytes())["warm_start"] is None
