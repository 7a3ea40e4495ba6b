"""Tensors by name: written so that they outlive a power failure, and digested."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from vqa_pipeline.errors import DiskError
from vqa_pipeline.files import name_disk_errors


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors from wherever they are.

    Raises:
        DiskError: the disk is full, or the folder cannot be written to.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with name_disk_errors(path):
        try:
            save_file(plain, path)
            _sync(path)
        except SafetensorError as error:
            told = find_disk_error(error, path)
            if told is None:
                raise
            raise told from error


def digest_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """The sha256 of names, types, shapes and bytes, in the order of names; empty for none."""
    if not tensors:
        return ""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def find_disk_error(error: Exception, path: Path) -> DiskError | None:
    """What safetensors says of a disk, as the error that it is; it keeps the system's number only in its words."""
    number = re.search(r"\(os error (\d+)\)", str(error))
    return DiskError.from_number(int(number[1]), path) if number else None


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
