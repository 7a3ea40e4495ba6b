"""A console logger that says what was made, checked and failed, one line each, instead of every event."""

import logging
import sys
import time

import dagster as dg

_TOLD = {"ASSET_MATERIALIZATION", "ASSET_CHECK_EVALUATION", "STEP_FAILURE", "RUN_FAILURE", "RUN_SUCCESS"}


class _Lines(logging.Formatter):
    """Clock, asset, what happened."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        event = getattr(record, "dagster_event", None)
        meta = getattr(record, "dagster_meta", {})
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        asset = (meta.get("step_key") or "").replace("__", "/")
        text = meta.get("orig_message") or record.getMessage() if event is None else _tell(event)
        return f"{clock}  {asset:<24} {text}".rstrip()


def _tell(event: dg.DagsterEvent) -> str:
    kind = event.event_type_value
    if kind == "ASSET_MATERIALIZATION":
        metadata = event.step_materialization_data.materialization.metadata
        return "unchanged" if metadata["reused"].value else "done"
    if kind == "ASSET_CHECK_EVALUATION":
        check = event.asset_check_evaluation_data
        passed = "passed" if check.passed else "FAILED" if check.blocking else "warns"
        return f"check {check.check_name} {passed}" + ("" if check.passed else f": {check.description}")
    if kind == "STEP_FAILURE":
        failure = event.step_failure_data
        told = failure.user_failure_data.description if failure.user_failure_data else None
        return f"FAILED: {told or (failure.error.message.strip() if failure.error else 'no reason was given')}"
    return {"RUN_FAILURE": "the run failed", "RUN_SUCCESS": "the run succeeded"}[kind]


def _is_told(record: logging.LogRecord) -> bool:
    event = getattr(record, "dagster_event", None)
    return record.levelno >= logging.INFO if event is None else event.event_type_value in _TOLD


@dg.logger(
    config_schema={"log_level": dg.Field(str, default_value="INFO", is_required=False)},
    description="What was made, checked and failed, a line each.",
)
def console(init: dg.InitLoggerContext) -> logging.Logger:
    """The logger that runs use with `loggers: {console: {}}` in their config."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Lines())
    handler.addFilter(_is_told)
    logger = logging.Logger("vqa_pipeline", level=init.logger_config["log_level"])  # noqa: LOG001 - Dagster wants its own
    logger.addHandler(handler)
    return logger
