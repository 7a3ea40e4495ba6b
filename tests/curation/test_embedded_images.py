"""Images that a source's own files hold are kept once, found by their sha256 and told when they are damaged."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
from curation_world import read_tree, write_files
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.curation.embedded_images import EmbeddedImagesWriter, KeptImages
from vqa_pipeline.curation.image_roots import ImageRoot, open_images
from vqa_pipeline.schemas import EmbeddedImage
from vqa_pipeline.sources.archives import ArchiveError
from vqa_pipeline.sources.formats.format import MalformedRecord


def embed(*contents: bytes) -> list[EmbeddedImage]:
    return [EmbeddedImage(hashlib.sha256(content).hexdigest(), content) for content in contents]


def keep(records: Path, *contents: bytes) -> Path:
    records.mkdir(parents=True, exist_ok=True)
    with EmbeddedImagesWriter(records) as writer:
        for image in embed(*contents):
            writer.add(image)
    return records


def refuse(root: ImageRoot, name: str) -> tuple[str, str]:
    with pytest.raises(MalformedRecord) as refused:
        root.read(name)
    return refused.value.rule, refused.value.reason


def test_embedded_images_are_kept_once_and_read_by_their_sha256(tmp_path):
    one, two = embed(b"one", b"two")
    root = open_images(None, keep(tmp_path / "records", b"one", b"two", b"one"))
    assert root.list_names() == sorted([one.sha256, two.sha256])
    assert (root.read(one.sha256), root.read(two.sha256)) == (b"one", b"two")
    assert refuse(root, "1.png") == ("image_missing", "there is no image 1.png in the source's files")


def test_images_that_rows_name_instead_are_beside_those_that_they_hold(tmp_path):
    (one,) = embed(b"embedded")
    write_files(tmp_path / "pictures", {"1.png": b"one", "a/2.png": b"two"})
    root = open_images(tmp_path / "pictures", keep(tmp_path / "records", b"embedded"))
    assert root.list_names() == sorted([one.sha256, "1.png", "a/2.png"])
    assert (root.read(one.sha256), root.read("1.png")) == (b"embedded", b"one")
    assert root.path == tmp_path / "pictures"
    assert refuse(root, "3.png")[0] == "image_missing"


def test_the_same_images_make_the_same_file(tmp_path):
    first, second = keep(tmp_path / "a", b"one", b"two"), keep(tmp_path / "b", b"one", b"two", b"two")
    assert read_tree(first) == read_tree(second)
    assert (first / "images.bin").read_bytes() == b"onetwo"


def test_a_source_without_embedded_images_keeps_no_file_of_them(tmp_path):
    keep(tmp_path / "records")
    assert list((tmp_path / "records").iterdir()) == []


@given(st.lists(st.binary(max_size=6), max_size=8))
def test_whatever_is_kept_comes_back(tmp_path_factory, contents):
    records = keep(tmp_path_factory.mktemp("any"), *contents)
    root = open_images(None, records)
    if not contents:
        assert root is None
        return
    images = {image.sha256: image.data for image in embed(*contents)}
    assert root.list_names() == sorted(images)
    assert {name: root.read(name) for name in images} == images


def test_kept_images_are_a_value_that_processes_can_be_given(tmp_path):
    (one,) = embed(b"one")
    root = KeptImages(keep(tmp_path, b"one"))
    root.list_names()
    assert pickle.loads(pickle.dumps(root)).read(one.sha256) == b"one"


def test_damage_is_an_error_and_no_verdict(tmp_path):
    one, two = embed(b"one", b"two")
    root = KeptImages(keep(tmp_path, b"one", b"two"))
    (tmp_path / "images.bin").write_bytes(b"onetwu")
    with pytest.raises(ArchiveError, match="is damaged at byte 3"):
        root.read(two.sha256)
    assert root.read(one.sha256) == b"one"
    (tmp_path / "images.arrow").write_bytes(b"ARROW1 no more")
    with pytest.raises(ArchiveError, match="is beside a damaged index"):
        root.read(one.sha256)


def test_when_reading_fails_there_is_no_index(tmp_path):
    (one,) = embed(b"one")
    with pytest.raises(KeyError), EmbeddedImagesWriter(tmp_path) as writer:
        writer.add(one)
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["images.bin"]
