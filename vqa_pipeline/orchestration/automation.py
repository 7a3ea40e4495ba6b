"""When assets materialize by themselves: on real changes of content, never because something merely ran again.

The conditions are latched: a change is handled when a run is *requested* for it, so one that lands while a training
runs keeps its own turn. Training's gate opens only on a tick of the cron, so a change at noon waits for the night, and
closes again when the data turns out to be bad.
"""

from typing import Any

import dagster as dg

from vqa_pipeline.schedule import CronSettings

AC = dg.AutomationCondition
Condition = dg.AutomationCondition[Any]

OBSERVATION_CRON = "*/30 * * * *"
"""How often the files of sources are looked at."""


def _content_changed() -> Condition:
    """A data version of an input, or the stage itself, is another than at the last look: true for one look only."""
    return (AC.any_deps_match(AC.data_version_changed()) | AC.code_version_changed()).with_label("content_changed_now")


def _unhandled_change() -> Condition:
    """A change since the last request; one that is seen right after a request is not lost to it."""
    changed = _content_changed()
    handled = (AC.newly_requested() & ~changed) | AC.initial_evaluation()
    return changed.since(handled).with_label("content_changed_since_last_request")


def _settled() -> Condition:
    """Nothing upstream runs or is about to: what is there now is what a run would read."""
    return ~AC.any_deps_in_progress() & ~AC.any_deps_match(AC.will_be_requested())


def _ready() -> Condition:
    """Nothing upstream is missing, running or bad."""
    return (~AC.any_deps_missing() & _settled() & ~AC.in_progress() & AC.all_deps_blocking_checks_passed()).with_label(
        "inputs_ready_and_healthy"
    )


def observe_regularly() -> Condition:
    """For sources: look at the files every half hour."""
    return (AC.cron_tick_passed(OBSERVATION_CRON) & ~AC.in_progress()).with_label("time_to_look_at_the_files")


def follow_changes() -> Condition:
    """For stages that cost little: run as soon as the content of an input changed."""
    due = (_unhandled_change() | AC.newly_missing() | (AC.missing() & AC.initial_evaluation())).since(
        AC.newly_requested() & ~_content_changed()
    )
    return (due & _ready()).with_label("inputs_changed")


def train_on_schedule(retrain: CronSettings) -> Condition:
    """For the checkpoint: at a tick of the cron, if the content changed since the last training was requested.

    A failed training is tried again at the next tick, once per tick. A tick that finds bad data, or data that turns out
    to be bad, passes unused; the change waits for the next one.
    """
    tick = AC.cron_tick_passed(retrain.cron, retrain.timezone)
    wanted = _unhandled_change() | AC.execution_failed() | AC.missing()
    healthy = AC.all_deps_blocking_checks_passed()
    over = AC.newly_requested() | AC.initial_evaluation() | (~healthy & _settled())
    due = (tick & wanted & healthy).since(over)
    return (due.with_label("tick_found_an_unhandled_change") & _ready()).with_label("nightly_if_changed")
