"""Checkpoints as folders: weights, configuration, processor, vocabulary, calibration; plain transformers load them.

A checkpoint and its vocabulary are one thing: the fingerprint of the vocabulary is in the configuration, and a folder
in which they disagree is refused. Folders appear whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError

from vqa_pipeline.answers.vocabulary import AnswerVocabulary, check_same
from vqa_pipeline.errors import BackboneError, VocabularyMismatch
from vqa_pipeline.evaluation.calibration import Calibration
from vqa_pipeline.files import write_atomically, write_json
from vqa_pipeline.modeling.fast_vilt import FastViltForQuestionAnswering
from vqa_pipeline.modeling.stock import (
    BertTokenizer,
    ViltImageProcessorPil,
    ViltProcessor,
)
from vqa_pipeline.modeling.tensor_files import raise_os_errors

VOCABULARY_FILE = "vocabulary.json"
CALIBRATION_FILE = "calibration.json"
TRAINING_FILE = "training.json"


class Checkpoint(NamedTuple):
    """A model and what it needs to read questions, to say answers and how sure it is of them."""

    model: Any
    processor: Any
    vocabulary: AnswerVocabulary
    calibration: Calibration


def save_checkpoint(checkpoint: Checkpoint, describe: Callable[[Path], Mapping[str, Any]], folder: Path) -> None:
    """Write a checkpoint; a folder that was there before is replaced as a whole.

    Args:
        checkpoint: What to write.
        describe: Tells what `training.json` says, when everything else is written and can be loaded from the folder
            that it is given; what it raises leaves things as they were.
        folder: Where the checkpoint will be.

    Raises:
        OSError: the folder cannot be written; what was there stays.
    """
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        with raise_os_errors(folder):
            _write(checkpoint, unfinished)
        training = dict(describe(unfinished))
        with raise_os_errors(folder):
            write_json(unfinished / TRAINING_FILE, training)
        _sync_files(unfinished)
        replace_folder(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(checkpoint: Checkpoint, folder: Path) -> None:
    config = checkpoint.model.config
    config.vocabulary_fingerprint = checkpoint.vocabulary.fingerprint
    config.name_or_path = ""
    checkpoint.model.save_pretrained(folder)
    checkpoint.processor.save_pretrained(folder)
    write_atomically(folder / VOCABULARY_FILE, checkpoint.vocabulary.to_json().encode())
    write_json(folder / CALIBRATION_FILE, checkpoint.calibration.model_dump(mode="json"))


def _sync_files(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def replace_folder(new: Path, folder: Path) -> None:
    """Move a finished folder to its place; what stood there disappears afterwards."""
    old = folder.with_name(f".{folder.name}.replaced")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: Path, vocabulary: AnswerVocabulary | None = None) -> Checkpoint:
    """Read a checkpoint, without network.

    Args:
        folder: What `save_checkpoint` wrote.
        vocabulary: The vocabulary that the caller will read answers by; None: the one in the folder.

    Raises:
        VocabularyMismatch: weights and vocabulary do not belong together.
        BackboneError: the folder is not a checkpoint.
    """
    if not folder.is_dir():  # transformers would take it for the name of a model to download
        raise BackboneError(str(folder), "there is no such folder", "Name the folder of a checkpoint.")
    path = folder / VOCABULARY_FILE
    try:
        model = _load_model(folder)
        processor = ViltProcessor(
            ViltImageProcessorPil.from_pretrained(folder, local_files_only=True),
            _load_tokenizer(folder),
        )
        stored = AnswerVocabulary.from_json(path.read_text(encoding="utf-8"))
        calibration = Calibration.model_validate_json((folder / CALIBRATION_FILE).read_bytes())
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = f"it is not a checkpoint ({str(error).partition(chr(10))[0]})"
        raise BackboneError(folder.name, reason, "Train again, or name another checkpoint.") from error
    _check_belongs(model, stored, vocabulary or stored)
    return Checkpoint(model, processor, stored, calibration)


def _load_model(folder: Path) -> Any:
    model, found = FastViltForQuestionAnswering.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    if found["missing_keys"]:
        raise ValueError(f"{len(found['missing_keys'])} tensors are missing")
    return model


def _load_tokenizer(folder: Path) -> Any:
    """The tokenizer; transformers alone would make an empty one where its file is missing, without a word."""
    tokens = json.loads((folder / "tokenizer.json").read_bytes())["model"]["vocab"]
    tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
    if len(tokenizer) < len(tokens):
        raise ValueError(f"only {len(tokenizer)} of {len(tokens)} tokens could be read")
    return tokenizer


def _check_belongs(model: Any, *vocabularies: AnswerVocabulary) -> None:
    fingerprint = getattr(model.config, "vocabulary_fingerprint", "none")
    num_answers = model.classifier[-1].out_features
    for vocabulary in vocabularies:
        check_same(vocabulary, fingerprint)
        if len(vocabulary) != num_answers:
            raise VocabularyMismatch(f"{fingerprint} with {num_answers} answers", f"{vocabulary.fingerprint}")
