"""The champion in the store: in use whole or not at all, with a history, and a link that leads to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from full_disk import files_of_at_most

from vqa_pipeline.deployment import Deployment
from vqa_pipeline.errors import ChampionDamaged, DiskError, NoChampion, StoreBusy
from vqa_pipeline.store import Draft, Store, Version

LARGE = 2 << 20


def make_store(folder: Path) -> Store:
    return Store(folder / "store" / "demo", folder / "scratch" / "demo")


def publish(store: Store, text: str) -> Version:
    with store.candidate("checkpoint") as folder:
        (folder / "vocabulary.json").write_text(text)
        (folder / "model.safetensors").write_bytes(text.encode() * (LARGE // len(text)))
        return store.publish(
            "checkpoint", folder, Draft(data_version=f"data-{text}", stage_number=1, settings={}, seconds=1)
        )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path)


def test_before_the_first_promotion_there_is_no_champion(store):
    deployment = Deployment(store)
    assert deployment.find_champion() is None
    assert deployment.read_history() == ()
    with pytest.raises(NoChampion, match="there is no champion yet. Materialize champion, or choose one"):
        deployment.require_champion()


def test_a_deployed_checkpoint_is_the_champion_with_its_files_and_card_under_a_stable_path(store):
    checkpoint = publish(store, "one")
    champion = Deployment(store).deploy(checkpoint, "# Card", "promoted", "better by 0.02")
    assert champion == Deployment(store).require_champion()
    assert (champion.version, champion.data_version) == (checkpoint.manifest.version, "data-one")
    assert champion.change.how == "promoted"
    assert champion.change.reason == "better by 0.02"
    current = store.root / "champion" / "current"
    assert current.resolve() == champion.folder.resolve()
    assert sorted(path.name for path in current.iterdir()) == [
        *("README.md", "manifest.json", "model.safetensors", "vocabulary.json")
    ]
    assert (current / "README.md").read_text() == "# Card"
    assert (current / "vocabulary.json").read_text() == "one"


def test_large_files_take_no_room_again(store):
    checkpoint = publish(store, "one")
    folder = Deployment(store).deploy(checkpoint, "", "promoted", "").folder
    assert (folder / "model.safetensors").samefile(checkpoint.path / "model.safetensors")


def test_a_store_that_was_moved_has_the_same_champion(tmp_path, store):
    Deployment(store).deploy(publish(store, "one"), "", "promoted", "")
    shutil.move(tmp_path / "store", tmp_path / "elsewhere")
    moved = Deployment(Store(tmp_path / "elsewhere" / "demo", tmp_path / "scratch"))
    assert moved.require_champion().data_version == "data-one"
    assert (moved.current / "vocabulary.json").read_text() == "one"


def test_every_change_is_kept_in_order_and_the_last_one_counts(store):
    deployment, one, two = Deployment(store), publish(store, "one"), publish(store, "two")
    deployment.deploy(one, "", "promoted", "first")
    deployment.deploy(two, "", "promoted", "better")
    deployment.deploy(one, "", "rolled back", "it was not")
    told = [(change.data_version, change.how, change.reason) for change in deployment.read_history()]
    assert told == [
        ("data-one", "promoted", "first"),
        ("data-two", "promoted", "better"),
        ("data-one", "rolled back", "it was not"),
    ]
    assert (deployment.current / "vocabulary.json").read_text() == "one"
    assert deployment.locate(two.manifest.version).is_dir()


def test_only_a_pinned_champion_keeps_challengers_waiting(store):
    deployment, one = Deployment(store), publish(store, "one")
    pinned = {how: deployment.deploy(one, "", how, "").is_pinned for how in ("promoted", "pinned", "rolled back")}
    assert pinned == {"promoted": False, "pinned": True, "rolled back": False}
    assert not deployment.deploy(one, "", "released", "").is_pinned


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("vocabulary.json", None, "vocabulary.json: is missing"),
        ("vocabulary.json", "oneone", "vocabulary.json: has 6 bytes, not 3"),
        ("manifest.json", None, "manifest.json: is missing"),
        ("manifest.json", "{}", "manifest.json: is not a manifest"),
    ],
)
def test_a_damaged_champion_is_named_with_what_to_do(store, name, content, reason):
    deployment, checkpoint = Deployment(store), publish(store, "one")
    folder = deployment.deploy(checkpoint, "", "promoted", "").folder
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(ChampionDamaged, match=reason) as caught:
        deployment.find_champion()
    assert f"`vqa-pipeline champion pin {checkpoint.manifest.version}`" in str(caught.value)


def test_deploying_a_damaged_champion_again_makes_it_whole(store):
    deployment, checkpoint = Deployment(store), publish(store, "one")
    folder = deployment.deploy(checkpoint, "", "promoted", "").folder
    (folder / "vocabulary.json").unlink()
    deployment.deploy(checkpoint, "", "pinned", "")
    assert deployment.require_champion().folder == folder
    assert (folder / "vocabulary.json").read_text() == "one"


def test_a_history_that_is_none_is_told(store):
    deployment = Deployment(store)
    deployment.deploy(publish(store, "one"), "", "promoted", "")
    (deployment.root / "history.json").write_text("[]")
    with pytest.raises(ChampionDamaged, match=r"history.json: is not a history"):
        deployment.find_champion()


def test_a_link_that_lags_behind_the_history_is_mended(store):
    deployment, one, two = Deployment(store), publish(store, "one"), publish(store, "two")
    deployment.deploy(one, "", "promoted", "")
    before = deployment.current.readlink()
    deployment.deploy(two, "", "promoted", "")
    deployment.current.unlink()
    deployment.current.symlink_to(before)
    assert deployment.require_champion().data_version == "data-two"
    deployment.mend()
    assert (deployment.current / "vocabulary.json").read_text() == "two"


def test_of_two_at_once_one_has_to_wait(store):
    deployment, one = Deployment(store), publish(store, "one")
    with store.lock("champion/deployment"), pytest.raises(StoreBusy):
        deployment.deploy(one, "", "promoted", "")
    assert deployment.find_champion() is None


def test_a_full_disk_leaves_the_champion_before(store):
    deployment, one, two = Deployment(store), publish(store, "one"), publish(store, "two")
    deployment.deploy(one, "", "promoted", "")
    with files_of_at_most(100), pytest.raises(DiskError):
        deployment.deploy(two, "x" * 1000, "promoted", "")
    assert deployment.require_champion().data_version == "data-one"
    assert (deployment.current / "vocabulary.json").read_text() == "one"


DEPLOYING = """
import sys
from pathlib import Path
from vqa_pipeline.deployment import Deployment
from vqa_pipeline.store import Store

store = Store(Path(sys.argv[1]), Path(sys.argv[2]))
versions = store.versions("checkpoint")
print("ready", flush=True)
while True:
    for version in versions:
        Deployment(store).deploy(version, version.manifest.data_version, "promoted", "in turn")
"""


@pytest.mark.slow
def test_killed_at_any_moment_the_champion_is_one_or_the_other_and_whole(store):
    versions = {publish(store, text).manifest.data_version for text in ("one", "two", "three")}
    for number in range(25):
        process = subprocess.Popen(
            [sys.executable, "-c", DEPLOYING, str(store.root), str(store.scratch)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.02 + 0.011 * number)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        deployment = Deployment(store)
        champion = deployment.find_champion()
        if champion is None:
            assert number == 0, "a champion was lost"
            continue
        assert champion.data_version in versions
        deployment.mend()
        assert deployment.current.resolve() == champion.folder.resolve()
        assert json.loads((deployment.root / "history.json").read_text())["changes"]


def test_a_byte_that_was_changed_is_found_though_the_size_is_the_same(store):
    champion = Deployment(store).deploy(publish(store, "one"), "card", "promoted", "")
    weights = champion.folder / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(LARGE // 2)
        file.write(b"#")
    with pytest.raises(ChampionDamaged, match=f"champion {champion.version}: .*the bytes of a file were changed"):
        Deployment(store).require_champion()


def test_a_model_card_may_be_edited(store):
    champion = Deployment(store).deploy(publish(store, "one"), "card", "promoted", "")
    (champion.folder / "README.md").write_text("# Another card")
    assert Deployment(store).require_champion() == champion
