"""A console logger that says what was made, checked and failed, one line each, instead of every event.

What was made the stages say themselves, in their log; of Dagster's events, checks, failures and waiting are told.
"""

import logging
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import dagster as dg

from vqa_pipeline.reporting.escaping import escape_control

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_LEVEL = dg.Enum("LogLevel", [dg.EnumValue(level) for level in _LEVELS])
_ENDS = {
    "PIPELINE_SUCCESS": "the run succeeded",
    "PIPELINE_FAILURE": "the run failed",
    "PIPELINE_CANCELED": "the run was cancelled",
}
_TOLD = {"ASSET_CHECK_EVALUATION", "STEP_UP_FOR_RETRY", "STEP_FAILURE", *_ENDS}


FindHolders = Callable[[str], Sequence[str]]
"""The ids of the runs that hold a pool."""


class _Lines(logging.Formatter):
    """Clock, asset, what happened."""

    def __init__(self, find_holders: FindHolders) -> None:
        super().__init__()
        self.find_holders = find_holders

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        event = getattr(record, "dagster_event", None)
        meta = getattr(record, "dagster_meta", {})
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        asset = (meta.get("step_key") or "").replace("__", "/")
        text = meta.get("orig_message") or record.getMessage() if event is None else _tell(event, self.find_holders)
        return escape_control(f"{clock}  {asset:<24} {text}".rstrip(), keep="\n")


def _tell(event: dg.DagsterEvent, find_holders: FindHolders) -> str:
    kind = event.event_type_value
    if (pool := _find_pool(event)) is not None:
        holders = ", ".join(f"run {run}" for run in find_holders(pool))
        return f"waits for the pool {pool}" + (f", held by {holders}" if holders else "")
    if kind == "ASSET_CHECK_EVALUATION":
        check = event.asset_check_evaluation_data
        passed = "passed" if check.passed else "FAILED" if check.blocking else "warns"
        return f"check {check.check_name} {passed}" + ("" if check.passed else f": {check.description}")
    if kind == "STEP_UP_FOR_RETRY":
        return f"failed and is tried again: {_explain(event.step_retry_data.error)}"
    if kind == "STEP_FAILURE":
        failure = event.step_failure_data
        if failure.error_source.name == "INTERRUPT":
            return "stopped on request"
        told = failure.user_failure_data.description if failure.user_failure_data else None
        return f"FAILED: {told or _explain(failure.error)}"
    return _ENDS[kind]


def _find_pool(event: dg.DagsterEvent) -> str | None:
    """The pool that a step waits for, if that is what the event tells."""
    pool = event.engine_event_data.metadata.get("pool") if event.event_type_value == "ENGINE_EVENT" else None
    return None if pool is None else str(pool.value)


def _explain(error: Any) -> str:
    """What the exception behind Dagster's own says; of a `dg.Failure` the description alone."""
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return "no reason was given"
    message = str(error.message).strip()
    return message.partition(": ")[2] if error.cls_name == dg.Failure.__name__ else message


def _is_told(record: logging.LogRecord, level: int) -> bool:
    """Dagster's events by their kind, as it gives even a success the level DEBUG; other lines by their level."""
    event = getattr(record, "dagster_event", None)
    if event is None:
        return record.levelno >= level
    return event.event_type_value in _TOLD or _find_pool(event) is not None


def build_console(find_holders: FindHolders = lambda _pool: ()) -> dg.LoggerDefinition:
    """The logger that runs use with `loggers: {console: {}}` in their config."""

    @dg.logger(
        config_schema={"log_level": dg.Field(_LEVEL, default_value="INFO", is_required=False)},
        description="What was made, checked and failed, a line each.",
    )
    def console(init: dg.InitLoggerContext) -> logging.Logger:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(_Lines(find_holders))
        handler.addFilter(partial(_is_told, level=logging.getLevelNamesMapping()[init.logger_config["log_level"]]))
        logger = logging.Logger("vqa_pipeline", level=logging.DEBUG)  # noqa: LOG001 - Dagster wants its own
        logger.addHandler(handler)
        return logger

    return console


console = build_console()
"""The console of a run that cannot tell who holds a pool."""
