from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from full_disk import files_of_at_most
from safetensors import SafetensorError
from safetensors.torch import load_file

from vqa_pipeline.modeling.tensor_files import digest_tensors, raise_os_errors, write_tensors


def test_what_is_written_comes_back_whatever_it_is_a_view_of(tmp_path: Path) -> None:
    written = {"turned": torch.arange(6.0).view(2, 3).T, "learning": torch.ones(2, requires_grad=True)}
    write_tensors(tmp_path / "a.safetensors", written)
    read = load_file(tmp_path / "a.safetensors")
    assert {name: tensor.tolist() for name, tensor in read.items()} == {
        "turned": [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]],
        "learning": [1.0, 1.0],
    }


def test_a_full_disk_is_an_error_of_the_system_at_the_path(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with files_of_at_most(1000), pytest.raises(OSError, match="File too large") as refused:
        write_tensors(path, {"weights": torch.zeros(1000)})
    assert (refused.value.errno, refused.value.filename) == (errno.EFBIG, str(path))


def test_what_safetensors_says_of_a_file_s_content_stays_its_own() -> None:
    with pytest.raises(SafetensorError, match="header too large"), raise_os_errors(Path("weights")):
        raise SafetensorError("Error while deserializing header: header too large")


def test_a_digest_is_of_names_types_shapes_and_bytes_and_not_of_their_order() -> None:
    one, other = torch.tensor([1.0, 2.0]), torch.tensor([[3.0]], dtype=torch.bfloat16)
    digest = digest_tensors({"a": one, "b": other})
    assert digest == digest_tensors({"b": other, "a": one.clone()})
    changed = [
        {"a": one, "c": other},
        {"a": one, "b": other.float()},
        {"a": one.view(2, 1), "b": other},
        {"a": one + 1, "b": other},
        {"a": one},
    ]
    assert len({digest, *map(digest_tensors, changed)}) == 1 + len(changed)


def test_nothing_has_no_digest() -> None:
    assert digest_tensors({}) == ""
