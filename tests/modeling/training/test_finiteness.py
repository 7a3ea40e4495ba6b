from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.curation.corrections import COLUMNS, read_corrections
from vqa_pipeline.modeling.training.finiteness import (
    CORRECTION_COLUMNS,
    MAX_STREAK,
    Skips,
    find_suspects,
    write_suspects,
)
from vqa_pipeline.modeling.training.tally import StepTold

OK, BAD = False, True


def told(skipped: bool, losses: list[float] | None = None) -> StepTold:
    listed = np.array(losses or [1.0, 2.0], np.float32)
    return StepTold(1, np.arange(len(listed)), listed, 1.0, skipped)


def follow(steps: list[bool], skips: Skips | None = None) -> Skips:
    skips = skips or Skips()
    for skipped in steps:
        skips = skips.note(told(skipped), ["w/1", "w/2"])
    return skips


def test_five_in_a_row_are_too_many_and_stay_so_until_forgiven() -> None:
    assert not follow([BAD] * 4 + [OK] + [BAD] * 4).is_failing
    failing = follow([BAD] * 5 + [OK])
    assert (failing.is_failing, failing.streak, failing.num_steps) == (True, 0, 5)
    forgiven = failing.forgive()
    assert (forgiven.is_failing, forgiven.num_steps, forgiven.suspects) == (False, 5, failing.suspects)
    assert not follow([BAD] * 4, forgiven).is_failing


@given(st.lists(st.booleans(), max_size=40))
def test_it_fails_exactly_when_a_run_of_skipped_steps_is_long_enough(steps: list[bool]) -> None:
    text = "".join("x" if skipped else "." for skipped in steps)
    skips = follow(steps)
    assert skips.is_failing == ("x" * MAX_STREAK in text)
    assert skips.num_steps == text.count("x")
    assert skips.streak == len(text) - len(text.rstrip("x"))


def test_questions_with_losses_that_are_not_finite_are_suspects_and_all_where_none_is() -> None:
    asked = ["w/1", "w/2", "w/3"]
    assert find_suspects(told(BAD, [1.0, math.nan, math.inf]), asked) == ["w/2", "w/3"]
    assert find_suspects(told(BAD, [1.0, 2.0, 3.0]), asked) == asked


def test_suspects_of_most_steps_come_first_and_a_thousand_are_enough() -> None:
    skips = (
        Skips().note(told(BAD, [math.nan, 1.0]), ["w/b", "w/a"]).note(told(BAD, [math.nan, math.nan]), ["w/b", "w/a"])
    )
    assert skips.rank_suspects() == ["w/b", "w/a"]
    assert skips.suspects == {"w/b": 2, "w/a": 1}
    many = Skips().note(told(BAD, [1.0] * 1500), [f"w/{number}" for number in range(1500)])
    assert len(many.suspects) == 1000


def test_each_source_gets_a_corrections_file_that_curation_reads(tmp_path: Path) -> None:
    assert CORRECTION_COLUMNS == COLUMNS
    skips = Skips(suspects={"clinic/1": 1, "toys/a,b": 2, "clinic/2": 3})
    folder = write_suspects(tmp_path / "corrections", skips)
    assert sorted(path.name for path in folder.iterdir()) == ["clinic.csv", "toys.csv"]
    lines = (folder / "clinic.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines[1:]] == ["clinic/2", "clinic/1"]
    assert "not finite in 3 steps" in lines[1]
    assert read_corrections("clinic", folder / "clinic.csv") == ()
    (folder / "toys.csv").write_text((folder / "toys.csv").read_text().replace('"toys/a,b",,,', '"toys/a,b",,drop,'))
    (decided,) = read_corrections("toys", folder / "toys.csv")
    assert (decided.question_id, decided.action) == ("toys/a,b", "drop")
