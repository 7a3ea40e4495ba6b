"""What a store may lose: never what is kept, in use, or what these were made from."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineage_world import Published

from vqa_pipeline.deployment import Deployment
from vqa_pipeline.errors import DamagedVersion, StoreBusy
from vqa_pipeline.pipeline import Pipeline, PipelineSettings
from vqa_pipeline.retention import DAYS_OF_JOBS, Key, find_kept, list_disposables, prune
from vqa_pipeline.schemas import Input, Manifest
from vqa_pipeline.store import MANIFEST, Store, find_damage

ASSETS = ("raw/x", "dataset", "checkpoint", "metrics")


def make_manifest(asset: str, number: int, inputs: dict[str, int]) -> Manifest:
    return Manifest(
        asset=asset,
        version=f"v{number}",
        data_version=f"d{number}",
        stage_number=1,
        settings={},
        inputs={name: Input(version=f"v{one}", data_version=f"d{one}") for name, one in inputs.items()},
        numbers={},
        files={},
        seconds=1.0,
        created_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number),
        packages={},
        git_commit=None,
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Manifest]:
    """Versions published one after another, each made from earlier ones of the assets before its own."""
    manifests: list[Manifest] = []
    for number, asset in enumerate(draw(st.lists(st.sampled_from(ASSETS), max_size=25))):
        before = [name for name in ASSETS[: ASSETS.index(asset)] if any(one.asset == name for one in manifests)]
        inputs = {
            name: draw(st.sampled_from([int(one.version[1:]) for one in manifests if one.asset == name]))
            for name in before
        }
        manifests.append(make_manifest(asset, number, inputs))
    return manifests


@given(histories(), st.integers(1, 4), st.data())
def test_nothing_that_is_reachable_from_what_stays_ever_goes(manifests, keep, data):
    keys = [Key(one.asset, one.version) for one in manifests]
    anchors = data.draw(st.lists(st.sampled_from(keys), max_size=3)) if keys else []
    kept = find_kept(manifests, keep, anchors)
    assert kept >= set(anchors)
    for asset in ASSETS:
        newest = [key for key in keys if key.asset == asset][-keep:]
        assert kept >= set(newest)
    for one in manifests:
        if Key(one.asset, one.version) in kept:
            assert kept >= {Key(name, read.version) for name, read in one.inputs.items()}


@given(histories())
def test_all_stays_where_all_is_kept(manifests):
    assert find_kept(manifests, None, ()) == {Key(one.asset, one.version) for one in manifests}


def test_where_an_input_is_gone_the_newest_of_its_content_stays_in_its_place():
    twin = make_manifest("dataset", 1, {})
    newer = [make_manifest("dataset", number, {}) for number in (2, 3)]
    user = make_manifest("checkpoint", 4, {"dataset": 1})
    user = user.model_copy(update={"inputs": {"dataset": Input(version="gone", data_version="d1")}})
    assert find_kept([twin, *newer, user], 1, ()) == {
        Key("dataset", "v1"),
        Key("dataset", "v3"),
        Key("checkpoint", "v4"),
    }


# -------------------------------------------------------------------------------------------------- a store on the disk


def make_pipeline(project: Path, keep: object = 1) -> Pipeline:
    settings = {"name": "clinic", "sources": [{"name": "scans", "format": "shapes"}], "keep": keep}
    return Pipeline("clinic", PipelineSettings.model_validate(settings), project)


def publish_generations(published: Published, count: int = 4) -> Store:
    """Raw files, dataset with a pack of its own and checkpoint, `count` times; the first two checkpoints were in use."""
    store = published.store
    deployment = Deployment(store)
    for number in range(count):
        raw = published.publish("raw/scans", {"r": f"{number}"}, f"r{number}")
        pack = published.project / "pack.parquet"
        pack.write_bytes(b"images %d" % number)
        details = {"image_packs": [store.share("dataset", pack)]}
        data = published.publish("dataset", {"d": f"{number}"}, f"d{number}", (raw,), details=details)
        checkpoint = published.publish("checkpoint", {"w": f"{number}"}, f"c{number}", (data,))
        if number < 2:
            deployment.deploy(checkpoint, "card", "promoted", "it is better")
    return store


def name_data_versions(store: Store, asset: str) -> list[str]:
    return [version.manifest.data_version for version in store.versions(asset)]


def test_prune_leaves_the_newest_and_what_the_champions_were_made_from(tmp_path):
    store = publish_generations(Published(tmp_path))
    gone = prune(make_pipeline(tmp_path), store)
    assert name_data_versions(store, "checkpoint") == ["c0", "c1", "c3"]
    assert name_data_versions(store, "dataset") == ["d0", "d1", "d3"]
    assert name_data_versions(store, "raw/scans") == ["r0", "r1", "r3"]
    packs = [store.root / "dataset" / v.manifest.details["image_packs"][0] for v in store.versions("dataset")]
    assert sorted((store.root / "dataset" / "shared").iterdir()) == sorted(packs)
    assert [one.what.split()[0] for one in gone] == ["checkpoint", "dataset", "raw/scans", "image"]
    assert list_disposables(make_pipeline(tmp_path), store) == []
    assert Deployment(store).require_champion().data_version == "c1"


def test_looking_changes_nothing_and_tells_the_bytes_that_deleting_frees(tmp_path):
    store = publish_generations(Published(tmp_path))
    before = {path: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}
    found = list_disposables(make_pipeline(tmp_path), store)
    assert {path: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()} == before
    prune(make_pipeline(tmp_path), store)
    lost = sum(size for path, size in before.items() if not path.exists())
    assert sum(one.num_bytes for one in found) == lost > 0


def test_a_file_that_a_kept_version_links_to_counts_nothing(tmp_path):
    published = Published(tmp_path)
    for number in range(2):
        published.publish("dataset", {"d": f"{number}", "large": b"x" * (1 << 20)}, f"d{number}")
    (one,) = list_disposables(make_pipeline(tmp_path), published.store)
    assert 0 < one.num_bytes < 10_000


def test_all_versions_stay_where_the_settings_say_all(tmp_path):
    store = publish_generations(Published(tmp_path))
    assert prune(make_pipeline(tmp_path, "all"), store) == []


def test_a_source_that_is_named_no_more_goes_once_nothing_that_stays_was_made_from_it(tmp_path):
    published, pipeline = Published(tmp_path), make_pipeline(tmp_path)
    store = published.store
    old = published.publish("raw/old", {"r": "1"}, "r1")
    published.publish("dataset", {"d": "1"}, "d1", (old,))
    observed = store.scratch / "observed"
    observed.mkdir(parents=True)
    for source in ("old", "scans"):
        (observed / f"{source}.json").write_text("{}")
    assert [one.what for one in prune(pipeline, store)] == ["observations of old"]
    published.publish("dataset", {"d": "2"}, "d2")
    prune(pipeline, store)
    assert store.current("raw/old") is None
    assert store.versions("raw/old") == []
    assert [file.name for file in observed.iterdir()] == ["scans.json"]


def test_nothing_goes_while_a_run_works_and_the_asset_is_named(tmp_path):
    store = publish_generations(Published(tmp_path))
    with store.lock("checkpoint"), pytest.raises(StoreBusy, match="another run is working on checkpoint"):
        prune(make_pipeline(tmp_path), store)
    assert len(store.versions("raw/scans")) == 4


def test_nothing_goes_while_a_manifest_cannot_be_read(tmp_path):
    store = publish_generations(Published(tmp_path))
    (store.versions("dataset")[0].path / MANIFEST).write_text("{")
    with pytest.raises(DamagedVersion, match="is not a manifest"):
        prune(make_pipeline(tmp_path), store)
    assert len(store.versions("raw/scans")) == 4


def test_overtaken_trainings_and_old_jobs_go_and_caches_when_asked(tmp_path):
    published, pipeline = Published(tmp_path), make_pipeline(tmp_path)
    scratch = published.store.scratch
    files = [scratch / name for name in ("trainings/old/p", "trainings/done/p", "trainings/new/p", "cache/pixels/x")]
    files += [scratch / "jobs" / "old.log", scratch / "jobs" / "new.log"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    published.publish("checkpoint", {"w": "1"}, "c1", details={"training": {"fingerprint": "done"}})
    os.utime(files[0], (0, 0))
    os.utime(files[1], (0, 0))
    os.utime(files[2], (datetime(2026, 1, 3, tzinfo=UTC).timestamp(),) * 2)
    age = (DAYS_OF_JOBS + 1) * 86400
    os.utime(files[4], (files[4].stat().st_mtime - age,) * 2)
    assert [one.what for one in prune(pipeline, published.store)] == ["training old", "job file old.log"]
    assert [one.what for one in prune(pipeline, published.store, caches=True)] == ["pixels and hidden states"]
    assert [file.exists() for file in files] == [False, True, True, False, False, True]


class Killed(BaseException):
    """Ends the work there and then, as a signal does."""


class Deletions:
    """Counts what is deleted and kills at one of them; Python lets nobody take a hook off again."""

    left: int | None = None

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.left is None or event not in {"os.remove", "os.rmdir"}:
            return
        if self.left == 0:
            raise Killed
        self.left -= 1


def test_killed_at_any_deletion_it_leaves_whole_versions_and_the_next_prune_takes_the_rest(tmp_path):
    deletions, steps, killed = Deletions(), 0, True
    sys.addaudithook(deletions)
    while killed:
        project = tmp_path / str(steps)
        project.mkdir()
        store = publish_generations(Published(project), count=4)
        current = {asset: store.require(asset) for asset in ("raw/scans", "dataset", "checkpoint")}
        deletions.left, killed = steps, False
        try:
            prune(make_pipeline(project), store)
        except Killed:
            killed = True
        deletions.left = None
        for asset, version in current.items():
            assert store.require(asset) == version
            assert [find_damage(one) for one in store.versions(asset)] == [None] * len(store.versions(asset))
        prune(make_pipeline(project), store)
        assert list_disposables(make_pipeline(project), store) == []
        assert name_data_versions(store, "dataset") == ["d0", "d1", "d3"]
        steps += 1
    assert steps > 10
