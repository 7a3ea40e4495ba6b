from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from full_disk import files_of_at_most
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from modeling_world import Events, World
from trunk_world import BF16, CPU, TrunkWorld, fill, make_trunk_world

from vqa_pipeline.modeling.batches import BatchSource
from vqa_pipeline.modeling.devices import Placement
from vqa_pipeline.modeling.inputs import AboveTrunk, WholeForward
from vqa_pipeline.modeling.trunk_cache import TrunkCache


@pytest.fixture(scope="module")
def made(world: World) -> TrunkWorld:
    return make_trunk_world(world)


@pytest.fixture(scope="module")
def batches(made: TrunkWorld) -> BatchSource:
    return made.ask(24)


def messages(events: Events) -> list[str]:
    return [event["message"] for event in events.named("log")]


def assert_same(one: TrunkCache, other: TrunkCache, batches: BatchSource) -> None:
    """Bit for bit, in batches of some size that mix short and long questions."""
    for positions in batches.plan_training(5, seed=0, epoch=1):
        assert torch.equal(one.read(positions).states, other.read(positions).states)


@pytest.mark.parametrize("placement", [CPU, BF16])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_cached_and_computed_again_are_the_same_bits(
    made: TrunkWorld, batches: BatchSource, tmp_path: Path, depth: int, placement: Placement
) -> None:
    cached = fill(made.cache(tmp_path, batches, depth, placement))
    again = made.cache(tmp_path / "none", batches, depth, placement)
    for positions in batches.plan_training(5, seed=0, epoch=1):
        assert torch.equal(AboveTrunk(cached).compute_logits(positions), AboveTrunk(again).compute_logits(positions))
    assert (cached.num_encoded, again.num_encoded) == (24, 24)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("placement", "tolerance"), [(CPU, 1e-6), (BF16, 2**-8)])
def test_from_the_cut_on_the_model_says_what_it_says_from_the_start(
    made: TrunkWorld, batches: BatchSource, tmp_path: Path, depth: int, placement: Placement, tolerance: float
) -> None:
    """Relative to the largest logit. In bf16, it is bf16 itself that is no better than that: its steps are 2**-7."""
    cached = fill(made.cache(tmp_path, batches, depth, placement))
    for positions in batches.plan_reading(8):
        whole = WholeForward(made.model, batches, placement).compute_logits(positions).detach()
        above = AboveTrunk(cached).compute_logits(positions).detach()
        assert float((above - whole).abs().max() / whole.abs().max()) <= tolerance


def test_a_second_training_computes_nothing(made: TrunkWorld, batches: BatchSource, tmp_path: Path) -> None:
    first, second = (fill(made.cache(tmp_path, batches)) for _ in range(2))
    assert (first.num_encoded, second.num_encoded) == (24, 0)
    assert_same(first, second, batches)


def test_after_new_data_only_what_is_new_is_computed(made: TrunkWorld, tmp_path: Path) -> None:
    """To the same bits, whoever is beside whom."""
    fill(made.cache(tmp_path, made.ask(10, first=3)))
    more = made.ask(24)
    grown, fresh = fill(made.cache(tmp_path, more)), fill(made.cache(tmp_path / "fresh", more))
    assert (grown.num_encoded, fresh.num_encoded) == (14, 24)
    assert_same(grown, fresh, more)


def test_other_weights_get_other_rows(world: World, tmp_path: Path) -> None:
    made = make_trunk_world(world)
    batches = made.ask(4)
    before = fill(made.cache(tmp_path, batches)).read(np.array([0])).states
    with torch.no_grad():
        made.model.vilt.encoder.layer[0].output.dense.bias += 1
    after = fill(made.cache(tmp_path, batches))
    assert after.num_encoded == 4
    assert not torch.equal(after.read(np.array([0])).states, before)


def test_a_question_asked_twice_is_computed_once(made: TrunkWorld, tmp_path: Path) -> None:
    cache = fill(made.cache(tmp_path, made.ask(36)))  # the last 12 are the first 12 again
    assert (cache.num_encoded, len(cache.missing)) == (24, 0)
    assert torch.equal(cache.read(np.array([0])).states, cache.read(np.array([24])).states)


def test_what_has_no_room_is_computed_again_to_the_same_bits(
    made: TrunkWorld, batches: BatchSource, tmp_path: Path
) -> None:
    events, folder = Events(), tmp_path / "small"
    cramped = made.cache(folder, batches)
    fill(cramped, max_bytes=10_000, report=events)
    assert 0 < len(cramped.missing) < 24
    assert sum(path.stat().st_size for path in folder.rglob("*.data")) <= 10_000
    left = len(cramped.missing)
    told = f"{folder} has no room for the hidden states of {left} questions. They are computed in every epoch."
    assert messages(events) == [told]
    assert_same(cramped, fill(made.cache(tmp_path, batches)), batches)


def test_the_trunk_that_was_not_used_for_longest_makes_room(
    made: TrunkWorld, batches: BatchSource, tmp_path: Path
) -> None:
    oldest, used = (fill(made.cache(tmp_path, batches, depth)) for depth in (1, 2))
    for age, cache in enumerate((used, oldest), 1):
        os.utime(tmp_path / cache.trunk.key, (age, age))
    fill(made.cache(tmp_path, batches, 2))  # it is used again
    room = sum(path.stat().st_size for path in tmp_path.rglob("*.data"))
    newest = fill(made.cache(tmp_path, batches, 2, BF16), max_bytes=room)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([used.trunk.key, newest.trunk.key])
    assert not len(newest.missing)


def test_a_full_disk_is_told_and_costs_only_time(made: TrunkWorld, batches: BatchSource, tmp_path: Path) -> None:
    events, cache = Events(), made.cache(tmp_path / "full", batches)
    with files_of_at_most(5000):
        fill(cache, report=events)
    [message] = messages(events)
    assert message.startswith("The hidden states of 24 questions are not kept: ")
    assert len(cache.missing) == 24
    assert_same(cache, fill(made.cache(tmp_path, batches)), batches)


def test_every_process_computes_its_share_and_reads_all(made: TrunkWorld, batches: BatchSource, tmp_path: Path) -> None:
    ranks = [made.cache(tmp_path, batches) for _ in range(3)]
    shares = [range(8), range(8, 16), range(16, 24)]
    for cache, share in zip(ranks, shares, strict=True):
        cache.fill(10**9, lambda num_questions, share=share: share)
    for cache in ranks:
        cache.look_up()
        assert (cache.num_encoded, len(cache.missing)) == (8, 0)


def test_two_runs_that_fill_it_at_once_do_not_harm_each_other(
    made: TrunkWorld, batches: BatchSource, tmp_path: Path
) -> None:
    first, second = made.cache(tmp_path, batches), made.cache(tmp_path, batches)

    def fill_second_in_between() -> bool:
        if not second.num_encoded:
            fill(second)
        return False

    fill(first, should_stop=fill_second_in_between)
    assert (first.num_encoded, second.num_encoded) == (24, 24)
    assert_same(first, second, batches)
    assert_same(first, fill(made.cache(tmp_path, batches)), batches)


def test_asked_to_stop_it_keeps_what_it_has(made: TrunkWorld, batches: BatchSource, tmp_path: Path) -> None:
    answers = iter([False] * 5 + [True] * 10)
    fill(made.cache(tmp_path, batches), should_stop=lambda: next(answers))
    assert fill(made.cache(tmp_path, batches)).num_encoded == 19


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.data())
def test_whatever_is_torn_or_damaged_is_never_used(
    tmp_path_factory: pytest.TempPathFactory, made: TrunkWorld, data: st.DataObject
) -> None:
    folder, batches = tmp_path_factory.mktemp("cache"), made.ask(4)
    intact = fill(made.cache(folder / "intact", batches))
    fill(made.cache(folder / "damaged", batches))
    file = data.draw(st.sampled_from(sorted(path for path in (folder / "damaged").rglob("*") if path.is_file())))
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    mended = fill(made.cache(folder / "damaged", batches))
    assert mended.num_encoded > 0
    assert not len(mended.missing)
    assert_same(mended, intact, batches)
    shutil.rmtree(folder)


def test_damage_is_told_once(made: TrunkWorld, batches: BatchSource, tmp_path: Path) -> None:
    fill(made.cache(tmp_path, batches))
    [file] = tmp_path.rglob("*.data")
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)
    told = []
    for _ in range(2):
        cache, events = made.cache(tmp_path, batches), Events()
        cache.look_up(report=events)
        fill(cache)
        told.append(messages(events))
    assert told == [["The hidden states of 1 questions are damaged and are computed again."], []]


def test_all_of_it_moves_to_the_device_or_nothing(made: TrunkWorld, batches: BatchSource, tmp_path: Path) -> None:
    cache, incomplete = fill(made.cache(tmp_path, batches)), made.cache(tmp_path / "none", batches)
    assert not cache.move_to_device(max_bytes=1000)
    assert not incomplete.move_to_device(max_bytes=10**9)
    mapped = [cache.read(positions).states for positions in batches.plan_reading(5)]
    assert cache.move_to_device(max_bytes=10**9)
    assert all(
        torch.equal(cache.read(positions).states, expected)
        for positions, expected in zip(batches.plan_reading(5), mapped, strict=True)
    )
