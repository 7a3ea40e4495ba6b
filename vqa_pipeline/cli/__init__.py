"""The command line: `vqa-pipeline COMMAND`. A user's mistake is told in a line, without a stack trace."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import typer

from vqa_pipeline.cli import data, keep_house, train, understand
from vqa_pipeline.errors import EXIT_CANCELLED, DiskError, TrainingCancelled, VqaPipelineError
from vqa_pipeline.reporting.escaping import escape_control

_NAME = "vqa-pipeline"

app = typer.Typer(
    name=_NAME,
    help="Curate image questions, fine-tune ViLT on them and score it, as Dagster assets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
train.add_commands(app)
understand.add_commands(app)
data.add_commands(app)
keep_house.add_commands(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, by default the process's own.

    It exits with 1 for a user's mistake, 2 for a wrong command line, 75 where a training was stopped that can go on.
    """
    try:
        app(arguments, prog_name=_NAME)
    except TrainingCancelled as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(EXIT_CANCELLED)
    except VqaPipelineError as error:
        _end(error)
    except OSError as error:
        told = DiskError.from_number(error.errno, error.filename or Path.cwd())
        if told is None:
            raise
        _end(told)


def _end(error: VqaPipelineError) -> NoReturn:
    print("error: " + escape_control(error, keep="\n"), file=sys.stderr)
    sys.exit(1)
