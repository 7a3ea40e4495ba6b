"""The files of a pre-trained backbone in a local folder, and the one digest that says which they are.

Loads without torch: a stage asks for the digest before it knows whether there is anything to train.
"""

from __future__ import annotations

import hashlib
from fnmatch import fnmatchcase
from pathlib import Path

from vqa_pipeline.files import digest_file

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
"""Names of files with weights; safetensors are preferred where a folder has both."""

DESCRIPTIONS = ("*.json", "*.txt")
"""Names of the other files that a backbone is read from: configuration, tokenizer, processor, index of the shards."""


def find_weights(folder: Path) -> list[Path]:
    """A folder's files with weights, sorted by name; none if it is no backbone.

    Raises:
        OSError: the folder cannot be read.
    """
    return _find(folder, WEIGHTS)


def digest_backbone(folder: Path) -> str:
    """The sha256, 64 hex digits, of the names and bytes of all files in a folder that a backbone is read from.

    Weights in all shards, configuration, tokenizer and processor, in the order of their names. Other files, and where
    the folder lies or what it is called, do not matter; links are followed, as the hub's cache consists of them.

    Raises:
        OSError: the folder or one of the files cannot be read.
    """
    digest = hashlib.sha256()
    for path in _find(folder, WEIGHTS + DESCRIPTIONS):
        digest.update(f"{path.name}\0{digest_file(path)}\n".encode())
    return digest.hexdigest()


def _find(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if any(fnmatchcase(path.name, pattern) for pattern in patterns)
        and not path.name.startswith(".")
        and path.is_file()
    )
