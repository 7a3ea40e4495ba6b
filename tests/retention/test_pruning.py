"""What a store may lose: what is shown is what goes, and nothing that is in use."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lineage_world import Published

from vqa_pipeline.deployment import Deployment
from vqa_pipeline.errors import DamagedVersion, StoreBusy
from vqa_pipeline.pipeline import Pipeline, PipelineSettings
from vqa_pipeline.retention.pruning import list_disposables, prune
from vqa_pipeline.retention.scratch import DAYS_OF_JOBS
from vqa_pipeline.stages.checkpoint import TRAININGS
from vqa_pipeline.store import MANIFEST, Store, find_damage


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


def test_who_rolled_back_can_go_on_rolling_back(tmp_path):
    published = Published(tmp_path)
    deployment = Deployment(published.store)
    first, second, third, _ = [published.publish("checkpoint", {"w": name}, name) for name in "1234"]
    for checkpoint in (first, second, third):
        deployment.deploy(checkpoint, "card", "promoted", "it is better")
    deployment.deploy(second, "card", "rolled back", "it was not")
    prune(make_pipeline(tmp_path), published.store)
    assert name_data_versions(published.store, "checkpoint") == ["1", "2", "4"]
    assert sorted(folder.name for folder in (deployment.root / "deployed").iterdir()) == sorted(
        [first.manifest.version, second.manifest.version]
    )


def test_what_the_champion_was_judged_by_stays(tmp_path):
    published = Published(tmp_path)
    for number in range(3):
        data = published.publish("dataset", {"d": f"{number}"}, f"d{number}")
        checkpoint = published.publish("checkpoint", {"w": f"{number}"}, f"c{number}", (data,))
        predictions = published.publish("predictions", {"p": f"{number}"}, f"p{number}", (data, checkpoint))
        published.publish("metrics", {"m": f"{number}"}, f"m{number}", (data, predictions))
        if number == 0:
            Deployment(published.store).deploy(checkpoint, "card", "promoted", "it is the first")
    prune(make_pipeline(tmp_path), published.store)
    assert name_data_versions(published.store, "metrics") == ["m0", "m2"]
    assert name_data_versions(published.store, "predictions") == ["p0", "p2"]


def test_what_a_killed_publishing_left_goes(tmp_path):
    store = publish_generations(Published(tmp_path), count=1)
    left = store.root / "dataset" / "versions" / "half"
    left.mkdir()
    (left / "rows").write_text("x")
    (one,) = prune(make_pipeline(tmp_path), store)
    assert (one.what, one.num_bytes) == ("dataset version half", 1)
    assert not left.exists()


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
    files = [
        scratch / name for name in (f"{TRAININGS}/old/p", f"{TRAININGS}/done/p", f"{TRAININGS}/new/p", "cache/pixels/x")
    ]
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
