"""Files: opened by content, listed without leaving the folder, written whole or not at all."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from full_disk import files_of_at_most

from vqa_pipeline.errors import DiskError
from vqa_pipeline.files import (
    DecompressionBomb,
    FileStat,
    digest_file,
    is_bomb,
    list_names,
    list_tree,
    make_folder,
    name_disk_errors,
    open_file,
    write_atomically,
    write_json,
)

# ----------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("name", ["rows.json", "rows.json.gz", "rows.gzip", "rows"])
@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compression_is_recognised_by_the_first_bytes_not_by_the_name(tmp_path, name, compress):
    path = tmp_path / name
    path.write_bytes(compress(b"hello\nworld\n"))
    with open_file(path) as file:
        assert file.read() == b"hello\nworld\n"


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_what_is_decompressed_can_be_sought_in(tmp_path, compress):
    path = tmp_path / "rows"
    path.write_bytes(compress(bytes(range(200)) * 1000))
    with open_file(path) as file:
        assert file.seek(-3, os.SEEK_END) == 199_997
        assert file.read() == bytes([197, 198, 199])
        assert file.seek(5) == 5
        assert file.seek(1, os.SEEK_CUR) == 6
        assert file.read(2) == bytes([6, 7])


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_a_file_that_decompresses_out_of_all_proportion_is_an_error_soon(tmp_path, compress):
    path = tmp_path / "rows.json"
    path.write_bytes(compress(bytes(4 << 20)) * 70)
    num_bytes = 0
    with open_file(path) as file, pytest.raises(DecompressionBomb, match="decompress to more than 200 times as many"):
        while chunk := file.read(1 << 20):
            num_bytes += len(chunk)
    assert num_bytes <= 256 << 20
    with open_file(path) as file, pytest.raises(DecompressionBomb):
        file.seek(0, os.SEEK_END)


def test_what_is_small_or_in_proportion_is_no_bomb():
    assert is_bomb((256 << 20) + 1, 1000)
    assert not is_bomb(256 << 20, 1000)
    assert not is_bomb(200 * (2 << 20), 2 << 20)


@pytest.mark.parametrize("content", [b"", b"\x1f", b"plain", b"\x1f\x8c no gzip"])
def test_what_is_no_gzip_is_read_as_it_is_even_when_its_name_says_so(tmp_path, content):
    path = tmp_path / "rows.gz"
    path.write_bytes(content)
    with open_file(path) as file:
        assert file.read() == content


def test_gzip_of_several_members_is_read_to_its_end(tmp_path):
    path = tmp_path / "rows.gz"
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    with open_file(path) as file:
        assert list(file) == [b"one\n", b"two\n"]


def test_closing_a_gzip_closes_its_file(tmp_path):
    path = tmp_path / "rows.gz"
    path.write_bytes(gzip.compress(b"hello"))
    file = open_file(path)
    inner = file.raw._file
    file.close()
    assert inner.closed


def test_a_truncated_gzip_is_an_error_and_not_a_short_file(tmp_path):
    path = tmp_path / "rows.gz"
    path.write_bytes(gzip.compress(os.urandom(1000))[:500])
    with open_file(path) as file, pytest.raises(EOFError):
        file.read()


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "none")


def test_a_digest_is_the_sha256_of_the_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert digest_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# ----------------------------------------------------------------------------------------------------------- listing


def test_a_tree_is_listed_in_order_with_sizes_and_times(tmp_path):
    for name, content in (("b/two.txt", b"22"), ("a.txt", b"1"), ("b-side/three.txt", b"333"), (".hidden", b"")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(7, 1_600_000_000_123_456_789))
    moment = 1_600_000_000_123_456_789
    assert list(list_tree(tmp_path).items()) == [
        (".hidden", FileStat(0, moment)),
        ("a.txt", FileStat(1, moment)),
        ("b-side/three.txt", FileStat(3, moment)),
        ("b/two.txt", FileStat(2, moment)),
    ]


def test_links_that_lead_out_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "folder" / "own.png").write_bytes(b"own")
    (root / "linked_folder").symlink_to(outside)
    (root / "linked_file.png").symlink_to(outside / "secret.png")
    (root / "alias.png").symlink_to(root / "folder" / "own.png")
    (root / "broken.png").symlink_to(root / "nowhere.png")
    (root / "loop").symlink_to(root)
    (root / "itself.png").symlink_to("itself.png")
    assert list(list_tree(root)) == list_names(root) == ["alias.png", "folder/own.png"]


def test_a_folder_that_is_itself_a_link_is_listed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").write_bytes(b"1")
    (tmp_path / "real" / "b.png").symlink_to("a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert list(list_tree(tmp_path / "link")) == ["a.png", "b.png"]


def test_what_is_no_regular_file_is_not_listed(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert list_tree(tmp_path) == {}


def test_a_folder_that_cannot_be_read_is_an_error_and_not_an_empty_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        list_tree(tmp_path / "none")


# ----------------------------------------------------------------------------------------------------------- writing


def test_writing_makes_the_folder_and_leaves_nothing_else(tmp_path):
    write_atomically(tmp_path / "new" / "deep" / "file.txt", b"content")
    assert list(list_tree(tmp_path)) == ["new/deep/file.txt"]
    assert (tmp_path / "new" / "deep" / "file.txt").read_bytes() == b"content"


def test_writing_again_replaces(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"a longer first content")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"


def test_a_failed_write_leaves_the_old_content_and_no_rest(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "text is not bytes")
    assert path.read_bytes() == b"old"
    assert list(list_tree(tmp_path)) == ["file"]


def test_a_full_disk_is_told_by_the_file_and_leaves_the_old_content_and_no_rest(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with files_of_at_most(1000), pytest.raises(DiskError) as refused:
        write_atomically(path, bytes(1001))
    assert str(refused.value).startswith(f"{path}: File too large. ")
    assert path.read_bytes() == b"old"
    assert list(list_tree(tmp_path)) == ["file"]


def test_what_is_written_outlives_a_power_failure_content_first_then_names(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(str(Path(f"/proc/self/fd/{number}").readlink())))
    write_atomically(tmp_path / "new" / "deep" / "file", b"content")
    assert synced[:2] == [str(tmp_path), str(tmp_path / "new")]
    assert Path(synced[2]).name.startswith(".file.")
    assert synced[3:] == [str(tmp_path / "new" / "deep")]


def test_a_file_where_a_folder_should_be_is_told_by_its_name(tmp_path):
    (tmp_path / "store").write_text("a file")
    with pytest.raises(DiskError, match="store: File exists. Move away"):
        make_folder(tmp_path / "store" / "demo" / "dataset")
    assert (tmp_path / "store").read_text() == "a file"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no folder here that takes nothing from anyone")
def test_a_folder_that_cannot_be_made_is_told_by_its_name():
    with pytest.raises(DiskError, match="^/proc/nope: No such file or directory. Choose another folder.$"):
        make_folder(Path("/proc/nope/demo"))


def test_a_folder_is_made_with_those_above_it_and_one_that_is_there_stays(tmp_path):
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_only_the_disk_s_errors_are_named(tmp_path):
    with pytest.raises(FileNotFoundError), name_disk_errors(tmp_path):
        (tmp_path / "none").read_bytes()
    with pytest.raises(DiskError, match="a path: Not a directory"), name_disk_errors(Path("a path")):
        (Path(__file__) / "none").read_bytes()


def test_threads_that_write_one_file_do_not_mix(tmp_path):
    path = tmp_path / "file"
    contents = [bytes([65 + number]) * 20_000 for number in range(8)]
    threads = [threading.Thread(target=write_atomically, args=(path, content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert list(list_tree(tmp_path)) == ["file"]


KILLED_WRITER = """
import sys
from pathlib import Path
from vqa_pipeline.files import write_atomically
number = 0
while True:
    number += 1
    write_atomically(Path(sys.argv[1]), str(number % 10).encode() * 100_000)
    if number == 1:
        print("writing", flush=True)
"""


def test_a_killed_writer_leaves_old_or_new_content_whole(tmp_path):
    path = tmp_path / "file"
    writer = subprocess.Popen([sys.executable, "-c", KILLED_WRITER, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"writing\n"
    for _ in range(20):
        content = path.read_bytes()
        assert len(content) == 100_000
        assert len(set(content)) == 1
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    content = path.read_bytes()
    assert len(content) == 100_000
    assert len(set(content)) == 1


def test_json_is_the_same_bytes_for_the_same_value(tmp_path):
    write_json(tmp_path / "one.json", {"b": [1, 2.5, None], "a": "é"})
    write_json(tmp_path / "two.json", {"a": "é", "b": [1, 2.5, None]})
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert json.loads((tmp_path / "one.json").read_bytes()) == {"a": "é", "b": [1, 2.5, None]}
    assert "é".encode() in (tmp_path / "one.json").read_bytes()


def test_json_that_no_other_reader_knows_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file.json", float("nan"))
    assert list_tree(tmp_path) == {}


def test_a_large_file_is_digested_in_pieces(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(5_000_000)
    assert digest_file(path) == hashlib.sha256(bytes(5_000_000)).hexdigest()
