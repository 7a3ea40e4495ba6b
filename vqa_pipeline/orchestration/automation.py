"""When assets materialize by themselves: on real changes of content, never because something merely ran again.

The conditions are latched: a change is handled when a run is *requested* for it, so one that lands while a training
runs keeps its own turn. Training's gate opens only on a tick of the cron, so a change at noon waits for the night, and
closes again when the data turns out to be bad. What the conditions are called is in `lineage.decisions`, which tells
the same from what is published.
"""

from typing import Any, Literal

import dagster as dg

from vqa_pipeline.cron import CronSettings
from vqa_pipeline.lineage import decisions as words

AC = dg.AutomationCondition
Condition = dg.AutomationCondition[Any]


def _content_changed() -> Condition:
    """A data version of an input, or the stage itself, is another than at the last look: true for one look only."""
    return (AC.any_deps_match(AC.data_version_changed()) | AC.code_version_changed()).with_label(words.CHANGED_NOW)


def _unhandled_change() -> Condition:
    """A change since the last request; one that is seen right after a request is not lost to it."""
    changed = _content_changed()
    handled = (AC.newly_requested() & ~changed) | AC.initial_evaluation()
    return changed.since(handled).with_label(words.CHANGED)


def _settled() -> Condition:
    """Nothing upstream runs or is about to: what is there now is what a run would read."""
    return ~AC.any_deps_in_progress() & ~AC.any_deps_match(AC.will_be_requested())


def _ready() -> Condition:
    """Nothing upstream is missing, running or bad."""
    ready = ~AC.any_deps_missing() & _settled() & ~AC.in_progress() & AC.all_deps_blocking_checks_passed()
    return ready.with_label(words.READY)


def observe_regularly(cron: str) -> Condition:
    """For sources: look at the files at these times, in UTC."""
    return (AC.cron_tick_passed(cron) & ~AC.in_progress()).with_label(words.LOOK)


def follow_changes() -> Condition:
    """For stages that cost little: run as soon as the content of an input changed.

    One that failed is tried again once a night, but what did not pass its own gate waits for other data.
    """
    bad = AC.any_checks_match(AC.check_failed(), blocking_only=True)
    again = _nightly_retry() & ~bad
    missing = AC.newly_missing() | (AC.missing() & AC.initial_evaluation())
    wanted = _unhandled_change() | missing | again
    due = wanted.since(AC.newly_requested() & ~(_content_changed() | again))
    return (due.with_label(words.CHANGED_OR_MISSING) & _ready()).with_label(words.FOLLOW)


def follow_after(checkpoint: dg.AssetKey) -> Condition:
    """As `follow_changes`, for what answers on the GPU: not while a training is on its way that starts at once.

    The old checkpoint would answer what the new one is about to. Direct inputs do not tell: the checkpoint itself may
    be waiting for what it needs first.
    """
    on_its_way = AC.any_deps_match(AC.in_progress() | AC.will_be_requested())
    ahead = AC.any_deps_match(on_its_way).allow(dg.AssetSelection.assets(checkpoint))
    return (follow_changes() & (~ahead).with_label(words.NO_TRAINING_AHEAD)).with_label(words.FOLLOW)


def train(retrain: Literal["on_change"] | CronSettings) -> Condition:
    """For the checkpoint: at once where the content changed, or at a tick of the cron."""
    return _train_on_schedule(retrain) if isinstance(retrain, CronSettings) else _train_on_change()


def _train_on_schedule(retrain: CronSettings) -> Condition:
    """At a tick of the cron, if the content changed since the last training was requested.

    A failed training is tried again at the next tick, once per tick. A tick that finds bad data, or data that turns out
    to be bad, passes unused; the change waits for the next one.
    """
    tick = AC.cron_tick_passed(retrain.cron, retrain.timezone).with_label(words.TICK)
    wanted = _unhandled_change() | _failed() | AC.missing().with_label(words.MISSING)
    healthy = AC.all_deps_blocking_checks_passed()
    over = AC.newly_requested() | AC.initial_evaluation() | (~healthy & _settled())
    due = (tick & wanted & healthy).since(over)
    return (due.with_label(words.TICK_FOUND_CHANGE) & _ready()).with_label(words.TRAIN_AT_TICK)


def _train_on_change() -> Condition:
    """As soon as the content changed; a training that failed is tried again once a night."""
    missing = AC.newly_missing() | (AC.missing() & AC.initial_evaluation())
    again = _nightly_retry()
    handled = AC.newly_requested() & ~(_content_changed() | again)
    wanted = _unhandled_change() | missing.with_label(words.MISSING) | again
    due = wanted.since(handled)
    return (due.with_label(words.CHANGED_OR_MISSING) & _ready()).with_label(words.TRAIN_ON_CHANGE)


def _failed() -> Condition:
    return AC.execution_failed().with_label(words.FAILED)


def _nightly_retry() -> Condition:
    tick = AC.cron_tick_passed(words.NIGHTLY_RETRY.cron, words.NIGHTLY_RETRY.timezone)
    return (tick & _failed()).with_label(words.RETRY)
