"""One function per asset: read the inputs' current versions, call the room that knows, publish. No Dagster, no torch.

The rooms are imported inside the stages, so that loading this package (Dagster's definitions do) stays light. How a
version is reused, gated and published is told in `publishing`.
"""

from __future__ import annotations

from vqa_pipeline.publishing import Outcome
from vqa_pipeline.stages.champion import decide_champion
from vqa_pipeline.stages.checkpoint import train_checkpoint
from vqa_pipeline.stages.dataset import build_dataset
from vqa_pipeline.stages.metrics import evaluate
from vqa_pipeline.stages.predictions import predict
from vqa_pipeline.stages.raw import observe_source
from vqa_pipeline.stages.records import build_records
from vqa_pipeline.stages.stage import CHECKS, STAGE_NUMBERS, RunWorker, open_store, stage_settings
from vqa_pipeline.stages.vocabulary import build_vocabulary

__all__ = [
    "CHECKS",
    "STAGE_NUMBERS",
    "Outcome",
    "RunWorker",
    "build_dataset",
    "build_records",
    "build_vocabulary",
    "decide_champion",
    "evaluate",
    "observe_source",
    "open_store",
    "predict",
    "stage_settings",
    "train_checkpoint",
]
