from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from modeling_world import VOCABULARY, World, settings
from safetensors.torch import load_file, save_file

from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.errors import BackboneError
from vqa_pipeline.modeling.backbone_files import digest_backbone
from vqa_pipeline.modeling.backbones import Materials, build_backbone
from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.pixels import read_pixel_rules

OTHER = AnswerVocabulary(answers=("maybe", "yes", "no"), counts=(3, 2, 1))
UNREADABLE = Path("/proc/self/mem")
LAST = {"classifier.3.weight", "classifier.3.bias"}


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained / "checkpoint", tmp_path / "my-vilt")


def build(world: World, backbone: Path | str, vocabulary: AnswerVocabulary = OTHER, **changes):
    materials = Materials(vocabulary, ["what color is it?"], ImagePacks(world.packs, []), [])
    return build_backbone(settings(backbone=str(backbone), **changes), materials)


def test_the_trunk_is_kept_and_the_last_layer_replaced(world: World, folder: Path) -> None:
    before = load_file(folder / "model.safetensors")
    backbone = build(world, folder)
    after = backbone.model.state_dict()
    assert {name for name in after if not torch.equal(after[name], before.get(name, torch.empty(0)))} == LAST
    assert after["classifier.3.weight"].shape == (3, 64)
    assert backbone.fresh == LAST


def test_answers_are_those_of_the_new_vocabulary(world: World, folder: Path) -> None:
    config = build(world, folder).model.config
    assert config.id2label == {0: "maybe", 1: "yes", 2: "no"}
    assert config.label2id == {"maybe": 0, "yes": 1, "no": 2}
    assert config.num_labels == 3


def test_rows_of_another_vocabulary_are_never_kept_even_if_sizes_agree(world: World, folder: Path) -> None:
    before = load_file(folder / "model.safetensors")
    after = build(world, folder, VOCABULARY).model.state_dict()
    assert after["classifier.3.weight"].shape == before["classifier.3.weight"].shape
    assert not torch.equal(after["classifier.3.weight"], before["classifier.3.weight"])


def test_the_same_seed_gives_the_same_weights(world: World, folder: Path) -> None:
    first, same, other = (build(world, folder, seed=seed).model.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["classifier.3.weight"], other["classifier.3.weight"])


def test_a_folder_is_recorded_by_name_and_digest_without_its_path(world: World, folder: Path) -> None:
    backbone = build(world, folder, head_learning_rate_factor=7.0)
    assert backbone.name == f"my-vilt@{digest_backbone(folder)[:12]}"
    assert backbone.may_stop_early
    assert backbone.head_rate_factor == 7.0


def test_pickled_weights_are_read_without_executing_them(world: World, folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    after = build(world, folder).model.state_dict()
    assert all(torch.equal(after[name], weights[name]) for name in weights if name not in LAST)


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def test_a_pickle_with_code_is_refused_and_not_run(world: World, folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"classifier.0.weight": Payload(tmp_path / "executed")}, folder / "pytorch_model.bin")
    with pytest.raises(BackboneError):
        build(world, folder)
    assert not (tmp_path / "executed").exists()


def test_a_missing_pooler_starts_fresh(world: World, folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "pooler" not in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    assert build(world, folder).fresh == LAST | {"vilt.pooler.dense.weight", "vilt.pooler.dense.bias"}


def test_an_incomplete_trunk_is_refused(world: World, folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["vilt.encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BackboneError, match=r"1 tensors such as vilt.encoder.layer.1.output.dense.weight"):
        build(world, folder)


def test_damaged_weights_are_named(world: World, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(BackboneError, match="my-vilt"):
        build(world, folder)


@pytest.mark.skipif(not UNREADABLE.exists(), reason="needs a file that nobody can read, not even root")
def test_files_that_cannot_be_read_are_told(world: World, folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(UNREADABLE)
    with pytest.raises(BackboneError, match=r"my-vilt: its files cannot be read \(.*Input/output error"):
        build(world, folder)


def test_weights_in_shards_are_all_read_and_all_in_the_name(world: World, folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, held in shards.items():
        save_file({name: weights[name] for name in held}, folder / file, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, held in shards.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    first = build(world, folder)
    assert all(
        torch.equal(tensor, weights[name]) for name, tensor in first.model.state_dict().items() if name not in LAST
    )
    changed = {name: weights[name] + 1 for name in names[1::2]}
    save_file(changed, folder / "model-00002-of-00002.safetensors", {"format": "pt"})
    assert build(world, folder).name != first.name


def test_a_folder_without_weights_is_named(world: World, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(BackboneError, match="the folder has no weights"):
        build(world, folder)


@pytest.mark.parametrize(
    ("changed", "reason"), [({"model_type": "bert"}, "not a ViLT"), ({"max_image_length": 9}, "random patches")]
)
def test_another_kind_of_model_is_refused(world: World, folder: Path, changed: dict[str, object], reason: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changed))
    with pytest.raises(BackboneError, match=reason):
        build(world, folder)


def test_a_name_that_is_neither_folder_nor_hub_name_is_explained(world: World) -> None:
    with pytest.raises(BackboneError, match=r"no/such/folder.*there is no such folder"):
        build(world, "no/such/folder")


def test_a_hub_name_that_was_never_fetched_is_explained_offline(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BackboneError, match=r"nobody/never-fetched.*get online once"):
        build(world, "nobody/never-fetched")


def test_a_hub_name_that_was_fetched_is_found_offline_and_named_by_commit(
    world: World, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "models--somebody--vilt"
    shutil.copytree(trained / "checkpoint", cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert build(world, "somebody/vilt").name == f"somebody/vilt@{commit}"


def test_the_older_layout_of_the_hub_is_read(world: World, folder: Path) -> None:
    """As dandelin/vilt-b32-mlm is laid out: a text vocabulary, and a size that is a bare number."""
    tokens = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json"):
        (folder / name).unlink()
    (folder / "vocab.txt").write_text("\n".join(sorted(tokens, key=tokens.get)) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": 40}))
    image_processor = {"size": 16, "size_divisor": 8, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(image_processor))
    processor = build(world, folder).processor
    assert processor.tokenizer.tokenize("What color is it?") == ["what", "color", "is", "it", "?"]
    rules = read_pixel_rules(processor.image_processor)
    assert (rules.shortest_edge, rules.size_divisor, rules.mean) == (16, 8, (0.5, 0.5, 0.5))
