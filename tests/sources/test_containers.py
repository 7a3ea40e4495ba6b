"""Rows are the same from a folder, a zip, a tar and a compressed tar; what attacks, or is no data, is never read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vqa_pipeline.errors import SourceError
from vqa_pipeline.sources.archives import ArchiveError, list_tar
from vqa_pipeline.sources.containers import count_junk, holds_rows, is_junk, list_members, measure_content, measure_file
from vqa_pipeline.sources.formats.files import find_base, find_paths, name_file, read_each


@contextmanager
def without_rights(folder: Path):
    folder.chmod(0)
    try:
        if os.access(folder, os.R_OK):
            pytest.skip("this user may read everything")
        yield
    finally:
        folder.chmod(0o755)


ROWS = {
    "b/2.json": b"[3]",
    "a.json": b"[1, 2]",
    "b/10.jsonl": b"[4]",
    "README.txt": b"about",
    "1.png": b"\x89PNG",
    "__MACOSX/._a.json": b"\0\5\x16\7",
    "._a.json": b"\0\5\x16\7",
    "b/.DS_Store": b"\0\0\0\1Bud1",
    "Thumbs.db": b"\xd0\xcf\x11\xe0",
    "a.json~": b"[9]",
    "b/": b"",
}
IN_ORDER = ["a.json", "b/10.jsonl", "b/2.json"]


def write_folder(path: Path, members: dict[str, bytes]) -> Path:
    for name, content in members.items():
        if not name.endswith("/"):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    return path


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return path


def pack_tar(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.size = len(content)
            entry.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.write_bytes(pack_tar(members))
    return path


def write_tar_gz(path: Path, members: dict[str, bytes]) -> Path:
    path.write_bytes(gzip.compress(pack_tar(members)))
    return path


def write_tar_bz2(path: Path, members: dict[str, bytes]) -> Path:
    path.write_bytes(bz2.compress(pack_tar(members)))
    return path


def write_tar_xz(path: Path, members: dict[str, bytes]) -> Path:
    path.write_bytes(lzma.compress(pack_tar(members)))
    return path


CONTAINERS = [write_folder, write_zip, write_tar, write_tar_gz, write_tar_bz2, write_tar_xz]
ARCHIVES = CONTAINERS[1:]


def find(root: Path, *patterns: str) -> list[str]:
    return [path.relative_to(root).as_posix() for path in find_paths("s", "files", patterns, root)]


def read(root: Path, *patterns: str) -> dict[str, bytes]:
    paths = find_paths("s", "files", patterns, root)
    return {name: item for name, _, item in read_each("s", "files", paths, root, lambda stream: iter([stream.read()]))}


def refuse(root: Path, *patterns: str) -> str:
    with pytest.raises(SourceError) as refused:
        read(root, *patterns)
    assert "rows" in str(refused.value.path)
    return refused.value.reason


# ------------------------------------------------------------------------------------------------------- the same rows


@pytest.mark.parametrize("write", CONTAINERS)
def test_rows_are_found_in_the_same_order_wherever_they_lie(tmp_path, write):
    write(tmp_path / "rows", ROWS)
    mark = "/" if write is write_folder else "!/"
    assert find(tmp_path, "rows") == [f"rows{mark}{name}" for name in IN_ORDER]
    assert list(read(tmp_path, "rows").values()) == [ROWS[name] for name in IN_ORDER]


@pytest.mark.parametrize("write", ARCHIVES)
def test_members_are_chosen_by_name_or_pattern(tmp_path, write):
    write(tmp_path / "rows.zip", ROWS)
    assert read(tmp_path, "rows.zip!/b/2.json") == {"rows.zip!/b/2.json": b"[3]"}
    assert list(read(tmp_path, "rows.zip!/*.json")) == ["rows.zip!/a.json", "rows.zip!/b/2.json"]
    assert list(read(tmp_path, "rows.zip!/b/*")) == ["rows.zip!/b/10.jsonl", "rows.zip!/b/2.json"]
    assert read(tmp_path, "*.zip!/README.txt") == {"rows.zip!/README.txt": b"about"}


def test_files_folders_archives_and_globs_mix(tmp_path):
    write_zip(tmp_path / "x.zip", {"q.json": b"[1]"})
    write_tar_gz(tmp_path / "y.tgz", {"q.json": b"[2]"})
    write_folder(
        tmp_path / "z", {"q.json": b"[3]", "more.zip": write_zip(tmp_path / "m", {"q.json": b"[4]"}).read_bytes()}
    )
    (tmp_path / "w.json.gz").write_bytes(gzip.compress(b"[5]"))
    assert read(tmp_path, "z", "*.*") == {
        "z/more.zip!/q.json": b"[4]",
        "z/q.json": b"[3]",
        "w.json.gz": b"[5]",
        "x.zip!/q.json": b"[1]",
        "y.tgz!/q.json": b"[2]",
    }


def test_a_compressed_member_is_decompressed_and_recoded(tmp_path):
    write_zip(tmp_path / "rows.zip", {"q.json.gz": gzip.compress('\ufeff["é"]'.encode("utf-16-le"))})
    assert read(tmp_path, "rows.zip") == {"rows.zip!/q.json.gz": '["é"]'.encode()}


def test_archives_may_be_taken_as_they_are(tmp_path):
    write_tar(tmp_path / "rows.tar", ROWS)
    assert find_paths("s", "files", "*.tar", tmp_path, whole=True) == [tmp_path / "rows.tar"]


def test_a_file_whose_name_has_the_mark_in_it_is_a_file(tmp_path):
    write_folder(tmp_path, {"odd!/q.json": b"[1]"})
    assert read(tmp_path, "odd!/q.json") == {"odd!/q.json": b"[1]"}


def test_the_base_is_the_folder_that_the_archive_lies_in(tmp_path):
    write_zip(tmp_path / "rows.zip", {"a/q.json": b"[1]"})
    paths = find_paths("s", "files", "rows.zip", tmp_path)
    assert find_base(paths, None) == tmp_path
    assert name_file(paths[0], tmp_path) == "rows.zip!/a/q.json"


def test_the_measure_of_a_member_is_its_own(tmp_path):
    write_zip(tmp_path / "rows.zip", {"q.json": b"[1]" + bytes(1000)})
    (path,) = find_paths("s", "files", "rows.zip", tmp_path)
    assert (measure_file(path), measure_content(path)) == (1003, 1003)
    (tmp_path / "q.json.gz").write_bytes(gzip.compress(b"1" * 1000))
    assert measure_content(tmp_path / "q.json.gz") == 1000
    assert measure_file(tmp_path / "q.json.gz") == (tmp_path / "q.json.gz").stat().st_size


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-c]{1,2}(/[a-c]{1,2}){0,2}\.(json|csv|txt)", fullmatch=True),
        st.binary(max_size=9),
        min_size=1,
    )
)
def test_whatever_the_rows_are_a_zip_and_a_tar_give_the_same(tmp_path_factory, members):
    root = tmp_path_factory.mktemp("any")
    packed = {name: b"text " + content.hex().encode() for name, content in members.items()}
    write_zip(root / "rows.zip", packed)
    write_tar_gz(root / "rows.tar", packed)
    zipped = [(name.split("!/")[1], rows) for name, rows in read(root, "rows.zip").items()]
    assert zipped == [(name.split("!/")[1], rows) for name, rows in read(root, "rows.tar").items()]
    assert zipped == sorted(packed.items())


# ---------------------------------------------------------------------------------------------------------------- junk


@pytest.mark.parametrize(
    "name",
    [
        *(
            "__MACOSX/a/._b.json",
            "a/__macosx/b.json",
            "._q.json",
            "a/.DS_Store",
            "Thumbs.db",
            "a/desktop.ini",
            "q.json~",
        ),
        *(
            "q.json.bak",
            ".#q.json",
            "~$q.xlsx",
            ".q.json.swp",
            "a/.ipynb_checkpoints/q.json",
            "@eaDir/q.json",
            ".git/config",
        ),
    ],
)
def test_what_systems_and_editors_leave_behind_is_junk(name):
    assert is_junk(name)
    assert not holds_rows(name)


@pytest.mark.parametrize(
    "name", ["q.json", "macosx/q.json", "a.DS_Store.json", "bak/q.csv", "thumbs.db.json", "a/q.JSON.GZ"]
)
def test_data_is_no_junk(name):
    assert not is_junk(name)
    assert holds_rows(name)


@pytest.mark.parametrize("name", ["q.png", "README.txt", "a/License.json", ".hidden.json", ".cache/q.json", "q"])
def test_what_is_neither_is_taken_only_when_it_is_named(name):
    assert not is_junk(name)
    assert not holds_rows(name)


@pytest.mark.parametrize("write", CONTAINERS)
def test_junk_beside_the_rows_is_counted(tmp_path, write):
    write(tmp_path / "rows", ROWS)
    assert count_junk(find_paths("s", "files", "rows", tmp_path)) == 5


def test_junk_that_a_glob_matches_is_passed_by_and_what_is_named_is_taken(tmp_path):
    write_folder(tmp_path, {"rows.json": b"[1]", "rows.json~": b"[2]"})
    assert find(tmp_path, "rows*") == ["rows.json"]
    assert find(tmp_path, "rows.json~") == ["rows.json~"]


# ------------------------------------------------------------------------------------------------------------- attacks


@pytest.mark.parametrize("write", [write_zip, write_tar, write_tar_gz])
@pytest.mark.parametrize(
    "name", ["../rows.json", "a/../../rows.json", "/etc/rows.json", "..\\rows.json", "C:\\rows.json", "c:/rows.json"]
)
def test_an_archive_with_a_name_that_leads_out_is_refused_by_that_name(tmp_path, write, name):
    write(tmp_path / "rows.zip", {"good.json": b"[1]", name: b"[2]"})
    assert "leads out of the archive" in refuse(tmp_path, "rows.zip")
    assert "leads out of the archive" in refuse(tmp_path, "rows.zip!/good.json")
    assert not list(tmp_path.parent.glob("rows.json"))


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (tarfile.SYMTYPE, "its member 'rows.json' is a link"),
        (tarfile.LNKTYPE, "its member 'rows.json' is a link"),
        (tarfile.CHRTYPE, "its member 'rows.json' is no regular file"),
        (tarfile.BLKTYPE, "its member 'rows.json' is no regular file"),
        (tarfile.FIFOTYPE, "its member 'rows.json' is no regular file"),
        (tarfile.GNUTYPE_SPARSE, "its member 'rows.json' is no regular file"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind, problem):
    with tarfile.open(tmp_path / "rows.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        entry = tarfile.TarInfo("rows.json")
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry)
    assert refuse(tmp_path, "rows.tar") == problem


@pytest.mark.parametrize(("bits", "problem"), [(0o120777, "is a link"), (0o020666, "is no regular file")])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, bits, problem):
    entry = zipfile.ZipInfo("rows.json")
    entry.external_attr = bits << 16
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    assert problem in refuse(tmp_path, "rows.zip")


def test_a_name_that_stands_there_twice_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "rows.zip", "w") as twice:
        twice.writestr("rows.json", b"[1]")
        twice.writestr("rows.json", b"[2]")
    assert "more than once" in refuse(tmp_path, "rows.zip")


def test_a_nul_in_a_name_does_not_cut_it_short(tmp_path):
    path = write_zip(tmp_path / "rows.zip", {"rows.json_.png": b"[1]"})
    path.write_bytes(path.read_bytes().replace(b"rows.json_.png", b"rows.json\0.png"))
    assert "NUL" in refuse(tmp_path, "rows.zip")


def test_a_name_that_is_not_utf_8_is_refused_as_no_locator_can_hold_it(tmp_path):
    write_tar(tmp_path / "rows.tar", {"caf\udce9.json": b"[1]"})
    with pytest.raises(SourceError, match=r"caf\\udce9\.json'?: has a name that is not UTF-8"):
        find(tmp_path, "rows.tar")
    (tmp_path / os.fsdecode(b"caf\xe9.csv")).write_bytes(b"")
    with pytest.raises(SourceError, match="has a name that is not UTF-8"):
        find(tmp_path, "*.csv")


def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    (tmp_path / "rows").mkdir()
    with without_rights(tmp_path / "rows"), pytest.raises(SourceError, match="rows: cannot be read"):
        find(tmp_path, "rows")


def test_an_encrypted_member_is_refused(tmp_path):
    data = bytearray(write_zip(tmp_path / "rows.zip", {"rows.json": b"[1]"}).read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + place] |= 1  # the flag's bit 0, APPNOTE.TXT 4.4.4
    (tmp_path / "rows.zip").write_bytes(data)
    assert "is encrypted" in refuse(tmp_path, "rows.zip")


def test_a_zip_whose_member_is_out_of_all_proportion_is_refused_before_it_is_read(tmp_path):
    data = bytearray(write_zip(tmp_path / "rows.zip", {"rows.json": b"[1]", "more.json": b"[2]"}).read_bytes())
    place = data.index(b"PK\x01\x02") + 24
    data[place : place + 4] = struct.pack("<I", 300 << 20)
    (tmp_path / "rows.zip").write_bytes(data)
    assert "zip bomb" in refuse(tmp_path, "rows.zip")


def test_a_zip_whose_members_share_their_bytes_is_refused(tmp_path):
    """Each member is harmless, but all are made of the same bytes, and together they are not."""
    content = b"".join(b"%010d" % number + bytes(1990) for number in range(500))
    data = write_zip(tmp_path / "rows.zip", {"r000.json": content}).read_bytes()
    begin, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entries = b"".join(data[begin:end].replace(b"r000.json", b"r%03d.json" % number) for number in range(300))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 300, 300, len(entries), begin, 0)
    (tmp_path / "rows.zip").write_bytes(data[:begin] + entries + tail)
    assert "declares more than 200 times its own bytes in its members: a zip bomb" in refuse(tmp_path, "rows.zip")


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_a_compressed_tar_out_of_all_proportion_is_refused(tmp_path, compress):
    head = pack_tar({"rows.json": b""})[:512]
    entry = tarfile.TarInfo("rows.json")
    entry.size = 70 * (4 << 20)
    assert len(head) == 512
    (tmp_path / "rows.tgz").write_bytes(compress(entry.tobuf()) + compress(bytes(4 << 20)) * 71)
    assert "decompress to more than 200 times" in refuse(tmp_path, "rows.tgz")


class Asked(io.BytesIO):
    """A file that keeps how much was asked of it at most."""

    most = 0

    def read(self, size: int | None = -1) -> bytes:
        self.most = max(self.most, (1 << 60) if size is None or size < 0 else size)
        return super().read(min(size, 1 << 20) if size and size > 0 else size)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_a_header_that_declares_gigabytes_takes_no_memory(tmp_path, kind):
    entry = tarfile.TarInfo("rows.json")
    entry.type, entry.size = kind, 1 << 40
    content = entry.tobuf(tarfile.GNU_FORMAT) + bytes(4096)
    file = Asked(content)
    with pytest.raises(ArchiveError):
        list(list_tar(file))
    assert file.most <= 1 << 20
    (tmp_path / "rows.tar").write_bytes(content)
    assert "damaged" in refuse(tmp_path, "rows.tar")


def test_an_archive_in_an_archive_is_not_opened(tmp_path):
    inner = write_zip(tmp_path / "inner", {"q.json": b"[1]"}).read_bytes()
    write_zip(tmp_path / "rows.zip", {"q.json": inner})
    assert refuse(tmp_path, "rows.zip") == "is an archive in an archive"
    write_zip(tmp_path / "rows.zip", {"q.json": pack_tar({"q.json": b"[1]"})})
    assert refuse(tmp_path, "rows.zip") == "is an archive in an archive"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"archive/data.pkl": b"\x80\x02}q\0.", "archive/version": b"3"}, "PyTorch file with a Python pickle"),
        ({"rows.json": b"\x80\x04}\x94."}, "is a Python pickle, which runs"),
        ({"rows.json": b"\x93NUMPY\x01\0"}, "is a NumPy array"),
        ({"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>"}, "Office document, such as an Excel workbook"),
        ({"a.npy": b"\x93NUMPY\x01\0"}, "holds NumPy arrays"),
        ({"1.png": b"\x89PNG"}, "holds no files of rows, by their names"),
        ({}, "holds no files of rows, by their names"),
    ],
)
def test_what_carries_code_or_no_rows_is_refused_with_the_reason(tmp_path, members, reason):
    write_zip(tmp_path / "rows.zip", members)
    assert reason in refuse(tmp_path, "rows.zip")


def test_a_pickle_is_refused_whatever_it_is_called(tmp_path):
    (tmp_path / "rows.json").write_bytes(b"\x80\x04}\x94.")
    (tmp_path / "rows.json.gz").write_bytes(gzip.compress(b"(dp0\nVa\n."))
    assert "is a Python pickle" in refuse(tmp_path, "rows.json")
    assert "is a Python pickle" in refuse(tmp_path, "rows.json.gz")


def test_many_members_of_a_compressed_tar_are_refused_as_each_costs_a_pass(tmp_path):
    write_tar_gz(tmp_path / "rows.tgz", {f"{number}.json": b"[1]" for number in range(65)})
    assert "holds 65 files with rows, but is compressed as a whole" in refuse(tmp_path, "rows.tgz")
    assert len(read(tmp_path, "rows.tgz!/1*.json")) == 11


@pytest.mark.parametrize("cut", [30, 60, 200])
def test_a_damaged_archive_is_named(tmp_path, cut):
    path = write_zip(tmp_path / "rows.zip", ROWS)
    path.write_bytes(path.read_bytes()[:-cut])
    assert "is no zip archive, or damaged" in refuse(tmp_path, "rows.zip")


def test_damaged_bytes_of_a_member_are_an_error_and_not_rows(tmp_path):
    path = tmp_path / "rows.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("q.json", b"[1, 2, 3]")
    path.write_bytes(path.read_bytes().replace(b"[1, 2, 3]", b"[1, 2, 4]"))
    assert "Bad CRC-32" in refuse(tmp_path, "rows.zip")


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("rows.zip!/none.json", "has no member that fits 'none.json'"),
        ("rows.json!/q.json", "is no archive, and has no members"),
        ("rows2.zip!/q.json", "no such file"),
    ],
)
def test_a_member_that_is_not_there_is_named(tmp_path, pattern, reason):
    write_zip(tmp_path / "rows.zip", {"q.json": b"[1]"})
    (tmp_path / "rows.json").write_bytes(b"[1]")
    assert refuse(tmp_path, pattern) == reason


def test_what_is_no_archive_has_no_members(tmp_path):
    (tmp_path / "rows.zip").write_bytes(b"[1]")
    assert list_members(tmp_path / "rows.zip") is None
