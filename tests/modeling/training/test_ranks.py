"""Ranks joined for real: two processes on this machine's CPU, over gloo."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.launcher import run_ranks
from vqa_pipeline.modeling.training.ranks import Ranks

CHECKS = Path(__file__).with_name("rank_checks.py")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """What the main rank and the other saw."""
    folder = tmp_path_factory.mktemp("ranks")
    assert run_ranks([sys.executable, str(CHECKS), str(folder)], 2, 1, lambda: False) == 0
    return [json.loads((folder / f"told-{rank}.json").read_text()) for rank in (0, 1)]


def test_they_join_and_one_is_the_main_one(told) -> None:
    assert [seen["count"] for seen in told] == [2, 2]
    assert [seen["is_main"] for seen in told] == [True, False]


def test_fewer_than_asked_for_are_refused(told) -> None:
    assert all(
        seen["refused"].startswith("`training.processes`: 3 processes are asked for and 2 joined.") for seen in told
    )


def test_their_shares_make_the_batch_also_where_there_is_less_than_a_question_for_each(told) -> None:
    assert [seen["shares"] for seen in told] == [[[0, 1], [], []], [[2, 3, 4], [0], []]]


def test_sums_are_those_of_both_for_every_kind_and_size_of_tensor(told) -> None:
    for seen in told:
        assert seen["sums"] == [[[3.0, 6.0]], 10, [], [[1.0, 3.0], [2.0, 4.0]]]
        assert seen["large"] == [0.0, float(2**23)]


def test_a_flag_up_anywhere_is_up_everywhere(told) -> None:
    assert [seen["any"] for seen in told] == [[True, False, True]] * 2


def test_all_start_from_the_main_rank_s_values(told) -> None:
    assert [seen["spread"] for seen in told] == [[0.0, 7.0]] * 2


def test_what_the_main_rank_does_first_is_there_for_the_other(told) -> None:
    assert [seen["found_cache"] for seen in told] == [True, True]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_more_processes_than_gpus_are_refused() -> None:
    with pytest.raises(SettingsError, match="Ask for at most one process per GPU"):
        Ranks(torch.device("cuda"), torch.cuda.device_count() + 1)
