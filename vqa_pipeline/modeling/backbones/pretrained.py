"""A pre-trained ViLT: a local folder or a name on the hub, resolved to exactly one commit or digest.

The trunk is taken as it is, the last layer is replaced by one for the vocabulary. Weights are read from safetensors, or
from a `.bin` with `weights_only=True`; nothing in a backbone's files is ever executed.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from torch import nn

from vqa_pipeline.errors import BackboneError
from vqa_pipeline.modeling.answer_prior import compute_log_odds
from vqa_pipeline.modeling.backbone_files import WEIGHTS, digest_backbone, find_weights
from vqa_pipeline.modeling.backbones.backbone import Backbone, Materials
from vqa_pipeline.modeling.fast_vilt import FastViltForQuestionAnswering
from vqa_pipeline.modeling.pixels import read_pixel_rules
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.modeling.stock import (
    BertTokenizer,
    ViltConfig,
    ViltImageProcessorPil,
    ViltProcessor,
)

LAST_LAYER = "classifier.3."
_NOT_TRUNK = ("classifier.", "vilt.pooler.")
UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError, UnpicklingError)


class _Resolved(NamedTuple):
    folder: Path
    name: str


def load_pretrained(settings: TrainingSettings, materials: Materials) -> Backbone:
    """A ViLT with its own tokenizer and image processor, and a new last layer drawn from `seed`.

    Raises:
        BackboneError: it cannot be found, is no ViLT, or lacks parts of its trunk.
    """
    resolved = resolve(settings.backbone)
    torch.manual_seed(settings.seed)
    try:
        config = read_config(resolved.folder)
        config.id2label = materials.vocabulary.id2label()
        config.label2id = materials.vocabulary.label2id()
        model, fresh = load_weights(resolved.folder, config)
        missing = sorted(key for key in fresh if not key.startswith(_NOT_TRUNK))
        if missing:
            raise ValueError(f"its trunk is incomplete: {len(missing)} tensors such as {missing[0]}")
        draw_last_layer(model.classifier[-1], materials, config.initializer_range, settings.seed)
        processor = load_processor(resolved.folder)
    except UNREADABLE as error:
        raise _unusable(settings.backbone, str(error).partition("\n")[0]) from error
    fresh |= {f"{LAST_LAYER}weight", f"{LAST_LAYER}bias"}
    return Backbone(resolved.name, model, processor, fresh, True, settings.head_learning_rate_factor)


def _unusable(backbone: str, reason: str) -> BackboneError:
    return BackboneError(backbone, reason, "Use a ViLT saved by transformers, with its processor, or `tiny`.")


def resolve(backbone: str) -> _Resolved:
    """The folder of a backbone's files, and the name that says which exactly: hub name and commit, or digest.

    A hub name that was used before is found without network.

    Raises:
        BackboneError: there is no such folder, and the hub does not have it or cannot be reached.
    """
    folder = Path(backbone)
    if folder.is_dir():
        return _Resolved(folder, f"{folder.resolve().name}@{_digest(folder, backbone)[:12]}")
    try:
        snapshot = Path(snapshot_download(backbone, allow_patterns=["*.json", "*.txt", "*.safetensors"]))
        if not list(snapshot.glob("*.safetensors")):
            snapshot = Path(snapshot_download(backbone, revision=snapshot.name, allow_patterns=["pytorch_model*.bin"]))
    except HFValidationError as error:
        raise BackboneError(backbone, "there is no such folder, and no hub name looks like this", _FIX) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = f"there is no such folder, and the hub could not give it ({str(error).strip().partition(chr(10))[0]})"
        raise BackboneError(backbone, reason, _FIX) from error
    return _Resolved(snapshot, f"{backbone}@{snapshot.name}")


_FIX = "Check the name, get online once so that it is cached, or use `tiny`."


def _digest(folder: Path, backbone: str) -> str:
    try:
        if not find_weights(folder):
            raise BackboneError(backbone, f"the folder has no weights ({' or '.join(WEIGHTS)})", _FIX)
        return digest_backbone(folder)
    except OSError as error:
        raise BackboneError(backbone, f"its files cannot be read ({error})", _FIX) from error


def read_config(folder: Path) -> Any:
    """The configuration of a ViLT.

    Raises:
        ValueError: it is another model, or one that this project does not compute.
        OSError: there is none.
    """
    config = ViltConfig.from_pretrained(folder)
    if config.model_type != "vilt":
        raise ValueError(f"it is a {config.model_type}, not a ViLT")
    if config.max_image_length > 0:
        raise ValueError("it looks at random patches only (`max_image_length` is set)")
    return config


def load_weights(folder: Path, config: Any) -> tuple[Any, frozenset[str]]:
    """The model with the weights of a folder, in fp32, and the names of those that the folder does not have.

    Raises:
        OSError, RuntimeError, SafetensorError, UnpicklingError: they cannot be read.
    """
    model, found = FastViltForQuestionAnswering.from_pretrained(
        folder, config=config, dtype=torch.float32, ignore_mismatched_sizes=True, output_loading_info=True
    )
    return model, frozenset({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])})


def load_processor(folder: Path) -> Any:
    """Tokenizer and image processor of a folder.

    Raises:
        OSError, ValueError: one of them is not there or cannot be used.
    """
    processor = ViltProcessor(ViltImageProcessorPil.from_pretrained(folder), BertTokenizer.from_pretrained(folder))
    read_pixel_rules(processor.image_processor)
    return processor


def draw_last_layer(last: nn.Linear, materials: Materials, std: float, seed: int) -> None:
    """A last layer as new ones start: small weights by `seed`, each answer as likely as in the training data."""
    nn.init.normal_(last.weight, 0.0, std, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        last.bias.copy_(compute_log_odds(materials.vocabulary.counts, len(materials.questions)))
