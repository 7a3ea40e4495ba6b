"""Which versions stay: never does one go that something kept was made from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.retention.kept import Key, find_kept
from vqa_pipeline.schemas import Input, Manifest

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
