"""Backbones by name: `tiny`, made from scratch; any other name is a local folder or a ViLT on the hub."""

from __future__ import annotations

from vqa_pipeline.modeling.backbones.backbone import Backbone, BuildBackbone, Materials
from vqa_pipeline.modeling.backbones.pretrained import load_pretrained
from vqa_pipeline.modeling.backbones.tiny import build_tiny
from vqa_pipeline.modeling.settings import TINY, TrainingSettings

__all__ = ["BACKBONES", "Backbone", "Materials", "build_backbone"]


def build_backbone(settings: TrainingSettings, materials: Materials) -> Backbone:
    """The backbone that the settings name.

    Raises:
        BackboneError: it cannot be had or used.
        SettingsError: the settings contradict each other.
    """
    return BACKBONES.get(settings.backbone, load_pretrained)(settings, materials)


BACKBONES: dict[str, BuildBackbone] = {TINY: build_tiny}
