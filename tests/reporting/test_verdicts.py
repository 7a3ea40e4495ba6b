"""The verdict in words, and the groups behind it in a plot around zero."""

from __future__ import annotations

import pytest
from reporting_world import METRICS, make_difference

from vqa_pipeline.reporting.verdicts import tell_verdict


def judge(outcome: str = "held", slices=(), total=None) -> dict:
    comparison = {
        "champion": "c0ffee",
        "champion_accuracy": 0.7,
        "total": total or make_difference(0.05, low=-0.1, high=0.2),
        "slices": list(slices),
    }
    return {**METRICS, "verdict": {"outcome": outcome, "reasons": ["because"]}, "comparison": comparison}


def test_where_nothing_was_judged_there_is_no_verdict():
    assert tell_verdict(METRICS) is None


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        ("promoted", ("Promoted", "it replaces the champion")),
        ("held", ("Held", "the champion stays in use")),
        ("needs_more_data", ("Needs more data", "the champion stays in use")),
        ("in_use", ("In use", "it is the champion")),
    ],
)
def test_an_outcome_is_told_with_what_comes_of_it(outcome, told):
    verdict = tell_verdict(judge(outcome))
    assert (verdict.outcome, verdict.consequence, verdict.reasons) == (*told, ["because"])


@pytest.mark.parametrize(
    ("outcome", "consequence"),
    [
        ("promoted", "it is the first champion"),
        ("held", "nothing comes into use"),
        ("needs_more_data", "nothing comes into use"),
        ("in_use", "it is the champion"),
    ],
)
def test_without_a_champion_there_is_nothing_to_compare(outcome, consequence):
    verdict = tell_verdict({**judge(outcome), "comparison": None})
    assert (verdict.consequence, verdict.gaps) == (consequence, [])


def test_a_difference_lies_left_or_right_of_the_middle_and_the_widest_interval_fits():
    (gap,) = tell_verdict(judge(total=make_difference(0.1, low=-0.1, high=0.2))).gaps
    assert gap.place == pytest.approx(0.75)  # 0.1 of 0.2
    assert gap.span == {"low": pytest.approx(0.25), "high": pytest.approx(1.0)}


def test_groups_that_tell_something_come_after_all_questions_the_greatest_loss_first():
    slices = [
        make_difference(0.1, column="answer_type", value="number"),
        make_difference(-0.2, column="answer_type", value="yes/no"),
        make_difference(-0.9, column="source", value="tiny", num_images=29),
    ]
    verdict = tell_verdict(judge(slices=slices))
    assert [gap.label for gap in verdict.gaps] == ["all questions", "answer type: yes/no", "answer type: number"]
    assert verdict.num_groups == 2


def test_no_more_groups_are_shown_than_somebody_reads():
    slices = [make_difference(0.0, column="source", value=str(number)) for number in range(30)]
    verdict = tell_verdict(judge(slices=slices))
    assert (len(verdict.gaps), verdict.num_groups) == (21, 30)
