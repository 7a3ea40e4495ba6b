"""May a challenger replace the champion? Judged by intervals, never by one number above another.

A verdict is a pure function of what was measured and of the settings; whoever acts on it is elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from vqa_pipeline.evaluation.comparison import Comparison, SliceDifference
from vqa_pipeline.evaluation.intervals import Interval
from vqa_pipeline.evaluation.settings import ChampionSettings
from vqa_pipeline.schemas import Frozen

MOST_NAMED = 5
"""Slices that a verdict names."""


class Verdict(Frozen):
    """Whether a challenger replaces the champion, and why."""

    outcome: Literal["promoted", "held", "needs_more_data", "in_use"] = Field(
        description="in_use: the challenger is the champion already."
    )
    reasons: tuple[str, ...] = Field(description="In words, the first one the most important.")


IN_USE = Verdict(outcome="in_use", reasons=("this checkpoint is the champion already",))
"""There is nothing to decide."""


def judge_first(reliance: float, interval: Interval, settings: ChampionSettings, *, overridden: bool) -> Verdict:
    """The verdict on a challenger where there is no champion: it has to be better than the best blind baseline.

    Args:
        reliance: Image reliance, in [-1, 1].
        interval: Of it.
        settings: The rules.
        overridden: Whether it was trained with other settings than the declared ones.
    """
    told = f"{_tell(reliance, interval)} above the best that does not see the image"
    return _judge(interval, told, (), settings, overridden=overridden)


def judge(comparison: Comparison, settings: ChampionSettings, *, overridden: bool) -> Verdict:
    """The verdict on a challenger: promoted where its gain is above 0 beyond chance and no slice fell.

    A slice counts as fallen when it lost more than `max_slice_drop` and its interval lies below 0: the interval, too,
    because there are dozens of slices, of which some lose a few points by chance whenever a model changes.
    """
    told = f"{_tell(comparison.total.difference, comparison.total.interval)} against the champion"
    return _judge(
        comparison.total.interval,
        told,
        find_fallen(comparison, settings.max_slice_drop),
        settings,
        overridden=overridden,
    )


def find_fallen(comparison: Comparison, max_drop: float) -> list[SliceDifference]:
    """Slices with enough images that lost more than `max_drop` beyond chance, the worst first."""
    fallen = [
        one for one in comparison.slices if not one.too_small and one.difference < -max_drop and one.interval.high < 0
    ]
    return sorted(fallen, key=lambda one: one.difference)


def _judge(
    interval: Interval,
    told: str,
    fallen: Sequence[SliceDifference],
    settings: ChampionSettings,
    *,
    overridden: bool,
) -> Verdict:
    if interval.low <= 0 <= interval.high and interval.high >= settings.minimum_effect:
        needed = f"the questions can tell neither a gain of {settings.minimum_effect:g} nor none"
        return Verdict(outcome="needs_more_data", reasons=(f"{told}: {needed}",))
    if interval.low <= 0:
        lost = "it is worse" if interval.high < 0 else f"a gain of {settings.minimum_effect:g} can be ruled out"
        return Verdict(outcome="held", reasons=(f"{told}: {lost}",))
    reasons = [f"{told}: better beyond chance", *_complain(fallen)]
    if overridden and not settings.allow_overridden:
        reasons.append("it was trained with settings other than the declared ones (`champion.allow_overridden`)")
    if len(reasons) == 1:
        return Verdict(outcome="promoted", reasons=tuple(reasons))
    return Verdict(outcome="held", reasons=(*reasons[1:], reasons[0]))


def _complain(fallen: Sequence[SliceDifference]) -> list[str]:
    told = [f"{one.column} {one.value} fell by {-one.difference:.3f}" for one in fallen[:MOST_NAMED]]
    if len(fallen) > MOST_NAMED:
        told.append(f"{len(fallen) - MOST_NAMED} more slices fell")
    return told


def _tell(difference: float, interval: Interval) -> str:
    return f"{difference:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"
