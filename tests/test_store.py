"""The store: a version is whole or absent, `current` never mixes, and the folder can be moved."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from full_disk import files_of_at_most

from vqa_pipeline.errors import DamagedVersion, DiskError, NotPublished, StoreBusy, StoreFormat
from vqa_pipeline.store import Draft, Store, Version


def make_store(folder: Path) -> Store:
    return Store(folder / "store" / "demo", folder / "scratch" / "demo")


def draft(data_version: str = "d1", **more) -> Draft:
    return Draft(data_version=data_version, stage_number=1, settings={"a": 1}, seconds=0.5, **more)


def publish(store: Store, text: str, data_version: str = "d1", asset: str = "dataset"):
    with store.candidate(asset) as folder:
        (folder / "part").mkdir()
        (folder / "part" / "rows.txt").write_text(text)
        return store.publish(asset, folder, draft(data_version))


def test_nothing_is_current_before_something_was_published(tmp_path):
    assert make_store(tmp_path).current("dataset") is None


def test_requiring_an_unpublished_asset_names_it_and_says_what_to_do(tmp_path):
    with pytest.raises(NotPublished, match="dataset has no published version .* Materialize dataset first"):
        make_store(tmp_path).require("dataset")


def test_a_published_version_is_current_and_holds_its_files(tmp_path):
    store = make_store(tmp_path)
    version = publish(store, "hello")
    current = store.require("dataset")
    assert current == version
    assert (current.path / "part" / "rows.txt").read_text() == "hello"
    assert current.manifest.files == {"part/rows.txt": 5}
    assert current.path == tmp_path / "store" / "demo" / "dataset" / "versions" / current.manifest.version


def test_the_same_bytes_are_one_version_and_other_bytes_another(tmp_path):
    store = make_store(tmp_path)
    one = publish(store, "hello")
    again = publish(store, "hello")
    other = publish(store, "world")
    assert one.manifest.version == again.manifest.version != other.manifest.version
    assert [v.manifest.version for v in store.versions("dataset")] == [one.manifest.version, other.manifest.version]


def test_a_large_file_that_the_version_before_has_takes_no_room_again(tmp_path):
    store = make_store(tmp_path)
    versions = []
    for text, images in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        with store.candidate("records/x") as folder:
            (folder / "rows.txt").write_text(text)
            (folder / "images.bin").write_bytes(images * (1 << 20))
            versions.append(store.publish("records/x", folder, draft(text)))
    inodes = [[(version.path / name).stat().st_ino for name in ("rows.txt", "images.bin")] for version in versions]
    assert inodes[0][1] == inodes[1][1] != inodes[2][1]
    assert len({rows for rows, _ in inodes}) == 3
    shutil.rmtree(versions[0].path)
    assert (versions[1].path / "images.bin").read_bytes() == b"1" * (1 << 20)


def test_a_version_is_found_by_its_data_version(tmp_path):
    store = make_store(tmp_path)
    publish(store, "hello", "first")
    publish(store, "world", "second")
    found = store.find("dataset", "first")
    assert found is not None
    assert (found.path / "part" / "rows.txt").read_text() == "hello"
    assert store.find("dataset", "third") is None


def test_pointing_back_makes_an_older_version_current(tmp_path):
    store = make_store(tmp_path)
    older = publish(store, "hello")
    publish(store, "world")
    store.point_at(older)
    assert store.require("dataset").manifest.version == older.manifest.version


def test_a_folder_without_manifest_is_no_version(tmp_path):
    store = make_store(tmp_path)
    publish(store, "hello")
    stray = store.root / "dataset" / "versions" / "0123456789abcdef"
    stray.mkdir()
    (stray / "rows.txt").write_text("half")
    assert len(store.versions("dataset")) == 1


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.unlink(), "is missing"),
        (lambda file: file.write_text("hell"), "has 4 bytes, not 5"),
    ],
)
def test_a_damaged_version_is_refused_with_the_file_named(tmp_path, damage, reason):
    store = make_store(tmp_path)
    damage(publish(store, "hello").path / "part" / "rows.txt")
    with pytest.raises(DamagedVersion, match=rf"rows.txt: {reason}"):
        store.require("dataset")


def test_a_broken_pointer_is_refused_with_the_file_named(tmp_path):
    store = make_store(tmp_path)
    publish(store, "hello")
    (store.root / "dataset" / "current.json").write_text("{")
    with pytest.raises(DamagedVersion, match="current.json"):
        store.current("dataset")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}", "is not a manifest (asset: Field required)"),
        ("nonsense", "is not a manifest (Invalid JSON: expected ident at line 1 column 2)"),
        (None, "is missing"),
    ],
)
def test_a_broken_manifest_is_refused_in_one_line_with_the_file_named(tmp_path, text, reason):
    store = make_store(tmp_path)
    manifest = publish(store, "hello").path / "manifest.json"
    manifest.unlink()
    if text is not None:
        manifest.write_text(text)
    with pytest.raises(DamagedVersion) as damage:
        store.current("dataset")
    assert (damage.value.path, damage.value.reason) == (manifest, reason)


@pytest.mark.parametrize("text", ["{", "{}", '"\\ud800"'])
def test_a_version_whose_manifest_is_broken_is_none_and_the_others_stay(tmp_path, text):
    store = make_store(tmp_path)
    publish(store, "hello", "first")
    broken = publish(store, "world", "second")
    third = publish(store, "again", "first")
    (broken.path / "manifest.json").write_text(text)
    assert [version.manifest.data_version for version in store.versions("dataset")] == ["first", "first"]
    assert store.find("dataset", "first") == third
    assert store.find("dataset", "second") is None


def test_a_version_that_lacks_a_file_is_not_found_for_use_an_older_whole_one_is(tmp_path):
    store = make_store(tmp_path)
    older, newer = publish(store, "hello"), publish(store, "world")
    (newer.path / "part" / "rows.txt").unlink()
    assert store.find("dataset", "d1") == older


def break_bytes(version: Version) -> None:
    (version.path / "part" / "rows.txt").write_text("HELLO")


def cut(version: Version) -> None:
    (version.path / "part" / "rows.txt").write_text("hel")


def remove_part(version: Version) -> None:
    shutil.rmtree(version.path / "part")


def break_manifest(version: Version) -> None:
    (version.path / "manifest.json").write_text("{")


def add_stray(version: Version) -> None:
    (version.path / "part" / "more.txt").write_text("not of this version")


def remove_all(version: Version) -> None:
    shutil.rmtree(version.path)


def nothing(_version: Version) -> None:
    pass


@pytest.mark.parametrize(
    "damage", [break_bytes, cut, remove_part, break_manifest, add_stray, remove_all, nothing], ids=lambda f: f.__name__
)
def test_publishing_the_same_bytes_over_a_damaged_version_makes_it_whole(tmp_path, damage):
    store = make_store(tmp_path)
    before = publish(store, "hello")
    damage(before)
    again = publish(store, "hello")
    assert again.manifest.version == before.manifest.version
    assert store.require("dataset") == again
    files = {path.relative_to(again.path).as_posix() for path in again.path.rglob("*") if path.is_file()}
    assert files == {"part/rows.txt", "manifest.json"}
    assert (again.path / "part" / "rows.txt").read_text() == "hello"


def test_only_a_pointer_that_leads_to_no_manifest_is_forgotten(tmp_path):
    store = make_store(tmp_path)
    version = publish(store, "hello")
    cut(version)
    store.forget_unreadable("dataset")
    assert store.current("dataset") == version
    break_manifest(version)
    store.forget_unreadable("dataset")
    assert store.current("dataset") is None
    store.forget_unreadable("dataset")


def test_a_store_that_is_a_file_is_refused_by_name(tmp_path):
    (tmp_path / "store").write_text("a file")
    with pytest.raises(DiskError, match="store/demo/dataset/current.json: Not a directory"):
        make_store(tmp_path).require("dataset")


def test_when_the_disk_is_full_nothing_of_a_new_version_stays_and_the_one_before_does(tmp_path):
    store = make_store(tmp_path)
    before = publish(store, "hello")
    with store.candidate("dataset") as folder:
        (folder / "a.txt").write_text("fits")
        (folder / "b.txt").write_text("x" * 2001)
        with files_of_at_most(2000), pytest.raises(DiskError, match="b.txt: File too large"):
            store.publish("dataset", folder, draft("d2"))
        with files_of_at_most(2000), pytest.raises(DiskError, match="b.txt: File too large"):
            store.keep_candidate("dataset", folder)
        with files_of_at_most(2000), pytest.raises(DiskError, match="File too large"):
            store.share("dataset", folder / "b.txt")
    assert store.require("dataset") == before
    assert [path.name for path in (store.root / "dataset" / "versions").iterdir()] == [before.manifest.version]
    assert store.find_failed("dataset") is None
    assert list((store.root / "dataset" / "shared").iterdir()) == []


def test_a_disk_that_is_full_while_a_version_is_mended_takes_nothing_from_it(tmp_path):
    store = make_store(tmp_path)
    text = "x" * 2001
    version = publish(store, text)
    cut(version)
    with store.candidate("dataset") as folder:
        (folder / "part").mkdir()
        (folder / "part" / "rows.txt").write_text(text)
        with files_of_at_most(2000), pytest.raises(DiskError, match="rows.txt: File too large"):
            store.publish("dataset", folder, draft())
    assert store.current("dataset") == version
    assert (version.path / "part" / "rows.txt").read_text() == "hel"


def test_names_are_kept_on_disk_before_the_manifest_and_the_manifest_before_current(tmp_path, monkeypatch):
    store, synced = make_store(tmp_path), []
    with store.candidate("dataset") as folder:
        (folder / "part").mkdir()
        (folder / "part" / "rows.txt").write_text("hello")
        monkeypatch.setattr(os, "fsync", lambda number: synced.append(Path(f"/proc/self/fd/{number}").readlink()))
        version = store.publish("dataset", folder, draft())
    names = [path.name.removeprefix(".").partition(".")[0] for path in synced if path.name.startswith(".")]
    assert names == ["rows", "manifest", "current"]
    at = {name: next(i for i, path in enumerate(synced) if path.name.startswith(f".{name}.")) for name in names}
    assert version.path / "part" in synced[at["rows"] : at["manifest"]]
    assert store.root / "dataset" / "versions" in synced[: at["manifest"]]
    assert version.path in synced[at["manifest"] : at["current"]]
    assert store.root / "dataset" in synced[at["current"] :]


def test_the_store_can_be_moved(tmp_path):
    store = make_store(tmp_path)
    version = publish(store, "hello")
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "store", tmp_path / "elsewhere" / "store")
    moved = Store(tmp_path / "elsewhere" / "store" / "demo", tmp_path / "scratch" / "demo").require("dataset")
    assert moved.manifest == version.manifest
    assert (moved.path / "part" / "rows.txt").read_text() == "hello"


def test_no_absolute_path_is_written(tmp_path):
    store = make_store(tmp_path)
    publish(store, "hello")
    texts = [path.read_text() for path in store.root.rglob("*.json")]
    assert len(texts) == 2
    assert not any(str(tmp_path) in text for text in texts)


def test_a_candidate_folder_starts_empty_and_is_removed_even_after_an_error(tmp_path):
    store = make_store(tmp_path)
    with pytest.raises(ZeroDivisionError), store.candidate("dataset") as folder:
        (folder / "half").write_text("")
        seen = folder
        raise ZeroDivisionError
    assert not seen.exists()
    with store.candidate("dataset") as folder:
        assert list(folder.iterdir()) == []


def test_two_runs_on_one_asset_do_not_mix_the_second_is_told(tmp_path):
    store = make_store(tmp_path)
    with store.candidate("dataset"), pytest.raises(StoreBusy, match="another run is working on dataset"):  # noqa: SIM117
        with make_store(tmp_path).candidate("dataset"):
            pass
    with store.candidate("dataset"):
        pass


def test_two_assets_can_be_made_at_once(tmp_path):
    store = make_store(tmp_path)
    with store.candidate("records/a") as one, store.candidate("records/b") as other:
        assert one != other


def test_a_shared_file_is_kept_once_under_its_digest(tmp_path):
    store = make_store(tmp_path)
    file = tmp_path / "pack.parquet"
    file.write_bytes(b"pictures")
    name = store.share("dataset", file)
    assert name == "shared/752f502ee3ac574467c34d2881aabe52eac51a2491d707bf11b09d2b9f0d4546.parquet"
    assert store.share("dataset", file) == name
    assert (store.root / "dataset" / name).read_bytes() == b"pictures"
    assert len(list((store.root / "dataset" / "shared").iterdir())) == 1


def test_a_failed_candidate_is_kept_and_replaces_the_one_before(tmp_path):
    store = make_store(tmp_path)
    for text in ("first", "second"):
        with store.candidate("dataset") as folder:
            (folder / "page.html").write_text(text)
            kept = store.keep_candidate("dataset", folder)
    assert (kept / "page.html").read_text() == "second"
    assert len(list((store.root / "dataset" / "candidates").iterdir())) == 1
    assert store.current("dataset") is None


def keep_failed(store: Store, text: str) -> Path:
    with store.candidate("dataset") as folder:
        (folder / "page.html").write_text(text)
        return store.keep_candidate("dataset", folder)


def test_a_failed_candidate_that_was_seen_is_settled(tmp_path):
    store = make_store(tmp_path)
    kept = keep_failed(store, "bad")
    seen = store.see_failed("dataset")
    assert seen is not None
    assert seen.path == kept == store.find_failed("dataset")
    store.settle_failed("dataset", seen)
    assert store.see_failed("dataset") is None


@pytest.mark.parametrize("text", ["bad", "worse"])
def test_a_candidate_that_another_run_kept_since_is_not_settled(tmp_path, text):
    store = make_store(tmp_path)
    os.utime(keep_failed(store, "bad"), ns=(1, 1))
    seen = store.see_failed("dataset")
    assert seen is not None
    kept = keep_failed(store, text)
    store.settle_failed("dataset", seen)
    assert store.find_failed("dataset") == kept


def test_while_another_run_works_on_the_asset_no_candidate_is_settled(tmp_path):
    store = make_store(tmp_path)
    kept = keep_failed(store, "bad")
    seen = store.see_failed("dataset")
    assert seen is not None
    with make_store(tmp_path).lock("dataset"):
        store.settle_failed("dataset", seen)
    assert store.find_failed("dataset") == kept


def test_a_manifest_tells_commit_packages_and_time(tmp_path):
    manifest = publish(make_store(tmp_path), "hello").manifest
    assert manifest.packages.keys() >= {"pyarrow", "pydantic", "pillow"}
    assert manifest.created_at.tzinfo is not None
    assert manifest.git_commit is None or len(manifest.git_commit.rstrip("+")) == 40


WRITER = """
import sys
from pathlib import Path
from vqa_pipeline.store import Draft, Store
folder = Path(sys.argv[1])
store = Store(folder / "store" / "demo", folder / "scratch" / "demo")
for number in range(1_000_000):
    with store.candidate("dataset") as candidate:
        for part in range(8):
            (candidate / f"part-{part}.txt").write_text(f"{number}\\n" * 2000)
        store.publish("dataset", candidate, Draft(data_version=str(number), stage_number=1, settings={}, seconds=0))
    print(number, flush=True)
"""


@pytest.mark.slow
def test_killed_at_any_moment_the_store_shows_one_whole_version(tmp_path):
    store = make_store(tmp_path)
    for attempt in range(25):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.003 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        version = store.require("dataset")
        texts = {(version.path / name).read_text() for name in version.manifest.files}
        assert len(version.manifest.files) == 8
        assert texts == {f"{version.manifest.data_version}\n" * 2000}


def test_current_json_names_only_the_version(tmp_path):
    store = make_store(tmp_path)
    version = publish(store, "hello")
    assert json.loads((store.root / "dataset" / "current.json").read_text()) == {"version": version.manifest.version}


@pytest.mark.parametrize(
    ("found", "fix"), [(0, "Move the store away and run again"), (2, "A newer vqa_pipeline wrote it: upgrade this one")]
)
def test_a_store_of_another_format_is_refused_with_both_numbers_and_stays(tmp_path, found, fix):
    store = make_store(tmp_path)
    manifest = publish(store, "hello").path / "manifest.json"
    other = json.dumps({"format": found, "a field of that format": 1})
    manifest.write_text(other)
    with pytest.raises(StoreFormat, match=f"has format {found}, and this package reads 1. {fix}"):
        store.require("dataset")
    with pytest.raises(StoreFormat):
        store.forget_unreadable("dataset")
    assert manifest.read_text() == other


def test_a_manifest_without_a_format_is_of_the_first(tmp_path):
    store = make_store(tmp_path)
    manifest = publish(store, "hello").path / "manifest.json"
    told = json.loads(manifest.read_bytes())
    assert told.pop("format") == 1
    manifest.write_text(json.dumps(told))
    assert store.require("dataset").manifest.format == 1
