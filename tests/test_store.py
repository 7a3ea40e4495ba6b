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

from vqa_pipeline.errors import DamagedVersion, NotPublished, StoreBusy
from vqa_pipeline.store import Draft, Store


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
