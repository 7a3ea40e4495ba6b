"""Where images come from: folders, archives and the source's own files are listed and read alike, and nothing else is."""

from __future__ import annotations

import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest
from curation_world import write_files

from vqa_pipeline.curation.image_roots import ImageRoot, open_images
from vqa_pipeline.sources.formats.format import MalformedRecord

FILES = {"1.png": b"one", "a/2.png": b"two"}


def make_folder(parent: Path) -> Path:
    write_files(parent / "pictures", FILES)
    return parent / "pictures"


def make_zip(parent: Path) -> Path:
    with zipfile.ZipFile(parent / "pictures", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    return parent / "pictures"


def make_tar(parent: Path) -> Path:
    write_files(parent / "unpacked", FILES)
    with tarfile.open(parent / "pictures", "w") as archive:
        archive.add(parent / "unpacked", ".")
    return parent / "pictures"


def refuse(root: ImageRoot, name: str) -> tuple[str, str]:
    with pytest.raises(MalformedRecord) as refused:
        root.read(name)
    return refused.value.rule, refused.value.reason


@pytest.mark.parametrize("make", [make_folder, make_zip, make_tar])
def test_every_root_is_listed_and_read_alike(tmp_path, make):
    root = open_images(make(tmp_path), tmp_path)
    assert root.list_names() == ["1.png", "a/2.png"]
    assert {name: root.read(name) for name in root.list_names()} == FILES
    assert root.path == tmp_path / "pictures"
    for name in ("3.png", "a", "../3.png"):
        assert refuse(root, name)[0] in {"image_missing", "image_outside_root"}


@pytest.mark.parametrize("make", [make_folder, make_zip, make_tar])
def test_a_root_is_a_value_that_processes_can_be_given(tmp_path, make):
    root = open_images(make(tmp_path), tmp_path)
    root.list_names()
    assert pickle.loads(pickle.dumps(root)) == root
    assert pickle.loads(pickle.dumps(root)).read("1.png") == b"one"


def test_without_folder_archive_or_embedded_images_there_is_no_root(tmp_path):
    assert open_images(None, tmp_path) is None


def test_an_archive_of_a_single_folder_is_taken_for_that_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.writestr("train2014/1.png", b"one")
        archive.writestr("train2014/a/2.png", b"two")
        archive.writestr("../3.png", b"three")
        archive.writestr("__MACOSX/train2014/._1.png", b"side file")
    root = open_images(tmp_path / "train.zip", tmp_path)
    assert (root.name, root.list_names()) == ("train2014", ["../3.png", "1.png", "a/2.png"])
    assert (root.read("1.png"), root.read("a/2.png")) == (b"one", b"two")
    assert refuse(root, "train2014/1.png")[0] == "image_missing"  # what the index of names mends
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a/1.png", b"one")
        archive.writestr("2.png", b"two")
    root = open_images(tmp_path / "two.zip", tmp_path)
    assert (root.name, root.list_names()) == ("two", ["2.png", "a/1.png"])


def test_a_member_that_may_not_be_read_is_refused_with_its_reason(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("1.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    root = open_images(tmp_path / "a.tar", tmp_path)
    assert refuse(root, "1.png") == ("image_refused", "1.png in a.tar is a link, so it is not read")


def test_a_damaged_member_is_a_verdict_on_its_image_alone(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("1.png", b"a picture")
        archive.writestr("2.png", b"another")
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(b"a picture", b"a pixture"))
    root = open_images(tmp_path / "a.zip", tmp_path)
    rule, reason = refuse(root, "1.png")
    assert (rule, reason) == ("image_unreadable", "a.zip is damaged at 1.png (Bad CRC-32 for file '1.png')")
    assert root.read("2.png") == b"another"


def test_an_archive_that_was_replaced_is_opened_again(tmp_path):
    root = open_images(make_zip(tmp_path), tmp_path)
    assert root.read("1.png") == b"one"
    with zipfile.ZipFile(tmp_path / "pictures", "w") as archive:
        archive.writestr("1.png", b"another one")
    assert root.read("1.png") == b"another one"
