"""Archives are read member by member: nothing leads out of them, nothing is larger than it may be."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.sources.archives import ArchiveError, is_archive, list_tar, open_archive

LINK = 0o120777 << 16
DEVICE = 0o020666 << 16


def write_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return path


def pack_tar(members: list[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.write_bytes(pack_tar(list(members.items())))
    return path


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_members_are_read_by_name_whatever_the_archive_is_called(tmp_path, write):
    path = write(tmp_path / "pictures", {"b/2.png": b"two", "1.png": b"one", "no-bytes": b""})
    assert is_archive(path)
    archive = open_archive(path)
    assert sorted(archive.members) == ["1.png", "b/2.png", "no-bytes"]
    assert [archive.read(name) for name in ("1.png", "b/2.png", "no-bytes")] == [b"one", b"two", b""]


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_names_are_those_that_references_have(tmp_path, write):
    archive = open_archive(write(tmp_path / "a", {"./1.png": b"1", "a//./2.png": b"2", "a\\3.png": b"3"}))
    assert {name: archive.read(name) for name in archive.members} == {"1.png": b"1", "a/2.png": b"2", "a/3.png": b"3"}


@pytest.mark.parametrize("write", [write_zip, write_tar])
@pytest.mark.parametrize("name", ["../1.png", "a/../../1.png", "/etc/1.png", "..\\1.png", "C:/1.png", "C:\\1.png"])
def test_a_name_that_leads_out_is_never_read(tmp_path, write, name):
    archive = open_archive(write(tmp_path / "a", {name: b"x", "good.png": b"y"}))
    (led_out,) = [member for member in archive.members.values() if member.problem]
    assert led_out.problem == "has a name that leads out of the archive"
    with pytest.raises(KeyError):
        archive.read(led_out.name)
    assert archive.read("good.png") == b"y"


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_folders_are_no_members_and_what_is_not_there_is_not_read(tmp_path, write):
    archive = open_archive(write(tmp_path / "a", {"a/1.png": b"x"}))
    assert list(archive.members) == ["a/1.png"]
    for name in ("a", "a/", "2.png"):
        with pytest.raises(KeyError):
            archive.read(name)


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (tarfile.SYMTYPE, "is a link"),
        (tarfile.LNKTYPE, "is a link"),
        (tarfile.CHRTYPE, "is no regular file"),
        (tarfile.FIFOTYPE, "is no regular file"),
    ],
)
def test_links_and_devices_in_a_tar_are_told_and_not_read(tmp_path, kind, problem):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        entry = tarfile.TarInfo("1.png")
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry)
    archive = open_archive(tmp_path / "a.tar")
    assert archive.members["1.png"].problem == problem
    with pytest.raises(KeyError):
        archive.read("1.png")


@pytest.mark.parametrize(("bits", "problem"), [(LINK, "is a link"), (DEVICE, "is no regular file")])
def test_links_and_devices_in_a_zip_are_told_and_not_read(tmp_path, bits, problem):
    entry = zipfile.ZipInfo("1.png")
    entry.external_attr = bits
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    archive = open_archive(tmp_path / "a.zip")
    assert archive.members["1.png"].problem == problem
    with pytest.raises(KeyError):
        archive.read("1.png")


def test_a_name_that_stands_there_twice_is_not_read_as_either(tmp_path):
    (tmp_path / "a.tar").write_bytes(pack_tar([("1.png", b"one"), ("./1.png", b"other"), ("2.png", b"two")]))
    archive = open_archive(tmp_path / "a.tar")
    assert archive.members["1.png"].problem == "is in the archive more than once"
    assert archive.members["2.png"].problem is None
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "a.zip", "w") as twice:
        twice.writestr("1.png", b"one")
        twice.writestr("1.png", b"other")
    assert open_archive(tmp_path / "a.zip").members["1.png"].problem == "is in the archive more than once"


@pytest.mark.parametrize(("raw", "name"), [("chaîne.png".encode(), "chaîne.png"), (b"cha\x8cne.png", "chaîne.png")])
def test_names_in_a_zip_that_does_not_say_how_they_are_encoded(tmp_path, raw, name):
    plain = b"x" * len(raw)
    data = write_zip(tmp_path / "a.zip", {plain.decode(): b"a picture"}).read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(plain, raw))
    assert open_archive(tmp_path / "a.zip").read(name) == b"a picture"


def test_an_encrypted_member_is_told_and_not_read(tmp_path):
    data = bytearray(write_zip(tmp_path / "a.zip", {"1.png": b"x"}).read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + place] |= 1  # the flag's bit 0, APPNOTE.TXT 4.4.4
    (tmp_path / "a.zip").write_bytes(data)
    assert open_archive(tmp_path / "a.zip").members["1.png"].problem == "is encrypted"


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_a_member_is_measured_before_it_is_read(tmp_path, write):
    archive = open_archive(write(tmp_path / "a", {"1.png": bytes(1001), "2.png": bytes(1000)}), largest=1000)
    assert archive.members["1.png"].problem == "has 1,001 bytes, more than 1,000"
    assert archive.read("2.png") == bytes(1000)


def test_a_zip_bomb_that_declares_less_than_it_holds_gives_no_more_than_it_declares(tmp_path):
    data = bytearray(write_zip(tmp_path / "a.zip", {"1.png": bytes(1 << 20)}).read_bytes())
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        begin = data.index(signature) + place
        data[begin : begin + 4] = (10).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ArchiveError, match=r"is damaged at 1\.png"):
        open_archive(tmp_path / "a.zip").read("1.png")


def test_damaged_bytes_of_a_zip_are_told_by_their_checksum(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"1.png": b"a picture", "2.png": b"another"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"a picture", b"a pixture"))
    archive = open_archive(path)
    with pytest.raises(ArchiveError, match=r"is damaged at 1\.png \(Bad CRC-32"):
        archive.read("1.png")
    assert archive.read("2.png") == b"another"


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 but no more", b"\x1f\x8b gzip"])
def test_what_is_no_archive_is_told(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ArchiveError, match="is no (zip|tar) archive, or damaged"):
        open_archive(tmp_path / "a")


def test_a_tar_that_breaks_off_or_is_damaged_in_between_does_not_end_silently(tmp_path):
    whole = pack_tar([("1.png", b"x" * 600), ("2.png", b"y" * 600)])
    with pytest.raises(ArchiveError, match="is no tar archive, or damaged"):
        list(list_tar(io.BytesIO(whole[: 3 * 512 + 700])))
    damaged = bytearray(whole)
    damaged[3 * 512 : 3 * 512 + 100] = b"?" * 100
    with pytest.raises(ArchiveError, match="is damaged: what begins at byte 1,536 is no member"):
        list(list_tar(io.BytesIO(damaged)))


@given(st.dictionaries(st.text("ab./\\", min_size=1, max_size=8), st.binary(max_size=20), max_size=5))
def test_whatever_members_are_called_none_is_read_under_a_name_that_leads_out(tmp_path_factory, members):
    path = write_tar(tmp_path_factory.mktemp("any") / "a.tar", members)
    archive = open_archive(path)
    for name, member in archive.members.items():
        if member.problem is None:
            assert not name.startswith("/")
            assert ".." not in name.split("/")
            assert archive.read(name) in members.values()
