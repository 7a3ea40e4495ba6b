"""The command line: `vqa-pipeline COMMAND`. A user's mistake is told in a line, without a stack trace."""

from __future__ import annotations

import sys

import typer

from vqa_pipeline.cli import data, train, understand
from vqa_pipeline.errors import VqaPipelineError

app = typer.Typer(
    name="vqa-pipeline",
    help="Curate image questions, fine-tune ViLT on them and score it, as Dagster assets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
train.add_commands(app)
understand.add_commands(app)
data.add_commands(app)


def main() -> None:
    """Run a command; exit with 1 for a user's mistake, 2 for a wrong command line."""
    try:
        app()
    except VqaPipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
