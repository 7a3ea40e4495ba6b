"""What workspace.yaml names: every pipeline that `defs/` declares."""

from pathlib import Path

import dagster as dg

from vqa_pipeline.orchestration.console import console


@dg.definitions
def defs() -> dg.Definitions:
    """The pipelines, and the console logger that their runs may use."""
    pipelines = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
    return dg.Definitions.merge(pipelines, dg.Definitions(loggers={"console": console}))
