from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from vqa_pipeline.modeling.backbone_files import digest_backbone, find_weights

FILES = {
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": b"first",
    "model-00002-of-00002.safetensors": b"second",
    "model.safetensors.index.json": b'{"weight_map": {}}',
    "preprocessor_config.json": b'{"size": 16}',
    "tokenizer.json": b'{"model": {}}',
    "vocab.txt": b"[PAD]\n",
}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_the_digest_is_of_names_and_bytes_in_the_order_of_names(tmp_path: Path) -> None:
    folder = write(tmp_path / "vilt", {"vocab.txt": b"a", "model.safetensors": b"w"})
    model, vocabulary = hashlib.sha256(b"w").hexdigest(), hashlib.sha256(b"a").hexdigest()
    told = f"model.safetensors\0{model}\nvocab.txt\0{vocabulary}\n"
    assert digest_backbone(folder) == hashlib.sha256(told.encode()).hexdigest()


@pytest.mark.parametrize("name", FILES)
def test_every_file_matters(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "vilt", FILES)
    before = digest_backbone(folder)
    (folder / name).write_bytes(FILES[name] + b" ")
    changed = digest_backbone(folder)
    (folder / name).unlink()
    assert len({before, changed, digest_backbone(folder)}) == 3


def test_two_files_that_swap_their_bytes_are_another_backbone(tmp_path: Path) -> None:
    first, second = list(FILES)[1:3]
    swapped = {**FILES, first: FILES[second], second: FILES[first]}
    assert digest_backbone(write(tmp_path / "a", FILES)) != digest_backbone(write(tmp_path / "b", swapped))


def test_pickled_weights_matter(tmp_path: Path) -> None:
    digests = {
        digest_backbone(write(tmp_path / str(number), {"config.json": b"{}", "pytorch_model.bin": bytes([number])}))
        for number in range(2)
    }
    assert len(digests) == 2


def test_the_place_of_the_folder_and_what_else_lies_in_it_do_not_matter(tmp_path: Path) -> None:
    plain = write(tmp_path / "one place", FILES)
    other = write(tmp_path / "another" / "place", dict(reversed(FILES.items())))
    for name in ("README.md", ".config.json.part", "optimizer.pt", "training_args.bin"):
        (other / name).write_bytes(b"other")
    write(other / "runs.json", {"config.json": b"other"})  # a folder
    assert digest_backbone(plain) == digest_backbone(other)


def test_links_are_followed_as_the_cache_of_the_hub_consists_of_them(tmp_path: Path) -> None:
    blobs, linked = write(tmp_path / "blobs", FILES), tmp_path / "linked"
    linked.mkdir()
    for name in FILES:
        (linked / name).symlink_to(blobs / name)
    assert digest_backbone(linked) == digest_backbone(blobs)


def test_weights_are_found_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = write(tmp_path / "vilt", {**FILES, "pytorch_model.bin": b"", "training_args.bin": b""})
    assert [path.name for path in find_weights(folder)] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "pytorch_model.bin",
    ]
    assert find_weights(write(tmp_path / "none", {"config.json": b"{}"})) == []


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        digest_backbone(tmp_path / "nowhere")


def test_it_loads_without_torch() -> None:
    script = (
        "import sys, vqa_pipeline.modeling.backbone_files; "
        "heavy = {'torch', 'transformers', 'numpy', 'pyarrow', 'pydantic', 'dagster'} & sys.modules.keys(); "
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
