"""Backbones by name: `tiny`, made from scratch; any other name is a local folder or a ViLT on the hub.

A training that starts warm has its parent for a backbone.
"""

from __future__ import annotations

from vqa_pipeline.modeling.backbones.backbone import Backbone, BuildBackbone, Materials
from vqa_pipeline.modeling.backbones.parent import load_parent, put_into_words
from vqa_pipeline.modeling.backbones.pretrained import load_pretrained
from vqa_pipeline.modeling.backbones.tiny import build_tiny
from vqa_pipeline.modeling.settings import NO_PARENT, TINY, TrainingSettings

__all__ = ["BACKBONES", "Backbone", "Materials", "build_backbone", "put_into_words"]


def build_backbone(settings: TrainingSettings, materials: Materials) -> Backbone:
    """The backbone that the settings name.

    Raises:
        BackboneError: it cannot be had or used.
        SettingsError: the settings contradict each other.
    """
    if settings.warm_start != NO_PARENT:
        return load_parent(settings, materials)
    return BACKBONES.get(settings.backbone, load_pretrained)(settings, materials)


BACKBONES: dict[str, BuildBackbone] = {TINY: build_tiny}
