from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from modeling_world import VOCABULARY, World, png, settings, write_pack
from PIL import Image

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.modeling.backbones import Materials, build_backbone
from vqa_pipeline.modeling.backbones.tiny import measure_pixels
from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.pixels import PixelRules, read_pixel_rules
from vqa_pipeline.modeling.questions import read_training

PLAIN = PixelRules(16, 8, Image.Resampling.BICUBIC, 1 / 255, (0.0,) * 3, (1.0,) * 3)


@pytest.fixture(scope="module")
def materials(world: World) -> Materials:
    asked, _ = read_training([world.questions("train")], VOCABULARY, "normalized")
    shas = sorted(set(asked.shas))
    return Materials(VOCABULARY, asked.questions, ImagePacks(world.packs, shas), shas)


def test_the_model_has_the_sizes_of_the_settings(materials: Materials) -> None:
    config = build_backbone(settings(tiny_layers=3), materials).model.config
    sizes = (config.num_hidden_layers, config.hidden_size, config.intermediate_size, config.num_attention_heads)
    assert sizes == (3, 32, 128, 4)
    assert (config.image_size, config.patch_size) == (16, 8)
    assert config.id2label == {0: "yes", 1: "no", 2: "blue", 3: "green", 4: "red"}
    assert config.label2id == {"yes": 0, "no": 1, "blue": 2, "green": 3, "red": 4}


def test_the_same_seed_gives_the_same_weights(materials: Materials) -> None:
    first, same, other = (build_backbone(settings(seed=seed), materials).model.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["classifier.0.weight"], other["classifier.0.weight"])


def test_everything_is_fresh_and_it_never_stops_early(materials: Materials) -> None:
    backbone = build_backbone(settings(), materials)
    assert backbone.fresh == {name for name, _ in backbone.model.named_parameters()}
    assert not backbone.may_stop_early
    assert (backbone.head_rate_factor, backbone.learning_rate) == (1.0, 1e-3)
    assert backbone.name == "tiny"


def test_weights_are_drawn_as_wide_as_their_inputs_need(materials: Materials) -> None:
    model = build_backbone(settings(tiny_width=64), materials).model
    embeddings, layer = model.vilt.embeddings, model.vilt.encoder.layer[0]

    def std(weight: torch.Tensor) -> float:
        return float(weight.detach().std())

    assert std(layer.attention.attention.query.weight) == pytest.approx(64**-0.5, rel=0.1)
    assert std(layer.attention.output.dense.weight) == pytest.approx(64**-0.5 / 2, rel=0.1)  # sqrt(2 x 2 layers)
    assert std(layer.output.dense.weight) == pytest.approx(256**-0.5 / 2, rel=0.1)
    assert std(embeddings.patch_embeddings.projection.weight) == pytest.approx(2 * (3 * 8 * 8) ** -0.5, rel=0.1)
    assert std(embeddings.text_embeddings.word_embeddings.weight) == pytest.approx(1.0, rel=0.1)
    assert std(embeddings.position_embeddings) == pytest.approx(0.5, rel=0.3)
    assert std(model.classifier[3].weight) == pytest.approx(0.1 * 128**-0.5, rel=0.1)
    assert not model.classifier[3].bias.any()


def test_the_processor_is_scaled_by_the_training_pictures(materials: Materials) -> None:
    rules = read_pixel_rules(build_backbone(settings(), materials).processor.image_processor)
    assert (rules.shortest_edge, rules.size_divisor) == (16, 8)
    assert rules.mean == measure_pixels(materials.packs, materials.shas, PLAIN).mean


def measure(folder: Path, images: list[bytes]):
    shas = write_pack(folder / "pack.parquet", images)
    return measure_pixels(ImagePacks([folder / "pack.parquet"], shas), sorted(set(shas)), PLAIN)


def with_square(background: int, foreground: int, side: int) -> bytes:
    from io import BytesIO

    pixels = np.full((16, 16, 3), background, np.uint8)
    pixels[:side, :side] = foreground
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(("background", "foreground"), [(10, 250), (250, 10)])
def test_the_background_is_the_mean_be_it_dark_or_light(tmp_path: Path, background: int, foreground: int) -> None:
    scale = measure(tmp_path, [with_square(background, foreground, 8)])  # a quarter differs, by 240
    assert scale.mean == (pytest.approx(background / 255, abs=1e-5),) * 3
    assert scale.std == pytest.approx(1.3 * (240 / 255) * 0.25**0.5, abs=1e-4)


def test_a_plain_picture_does_not_blow_up_the_scale(tmp_path: Path) -> None:
    assert measure(tmp_path, [png((9, 9, 9))]).std == 0.05


def test_heads_must_divide_the_width(materials: Materials) -> None:
    with pytest.raises(SettingsError, match=r"`training.tiny_width`: 30 is not a multiple of `tiny_heads`, 4"):
        build_backbone(settings(tiny_width=30), materials)


def test_patches_must_divide_the_picture(materials: Materials) -> None:
    with pytest.raises(SettingsError, match=r"`training.tiny_image_pixels`: 20 is not a multiple"):
        build_backbone(settings(tiny_image_pixels=20), materials)
