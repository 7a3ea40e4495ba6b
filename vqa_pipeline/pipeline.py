"""What a pipeline is: its settings, composed of the rooms' own, and the places it uses in a project.

Loads without Dagster, torch, transformers and pandas.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from vqa_pipeline.answers.settings import VocabularySettings
from vqa_pipeline.cron import CronLine, CronSettings
from vqa_pipeline.curation.settings import ComputeSettings, DatasetSettings
from vqa_pipeline.evaluation.settings import ChampionSettings, EvaluationSettings
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.schemas import Frozen, Name
from vqa_pipeline.sources.formats import Source


class FreshnessSettings(Frozen):
    """When Dagster says that something is too old. Content that does not change grows old, too: so only if asked."""

    dataset_days: float | None = Field(
        None, gt=0, description="Days without a new dataset after which it is too old; null: never."
    )
    champion_days: float | None = Field(
        None, gt=0, description="Days without a decision on a champion after which it is overdue; null: never."
    )


class PipelineSettings(Frozen):
    """A whole VQA pipeline: what it reads, how it trains, and how it scores."""

    name: Name | None = Field(
        None, description="Prefixes asset keys, group and store path; default: the folder's name."
    )
    store: str = Field("data/store", description="Folder of published versions, relative to the project.")
    scratch: str = Field(
        "data/scratch", description="Folder of caches and unfinished work; deleting it costs time only."
    )
    sources: tuple[Source, ...] = Field(min_length=1, description="Where questions come from.")
    dataset: DatasetSettings = Field(DatasetSettings(), description="How records become the dataset.")
    compute: ComputeSettings = Field(ComputeSettings(), description="How many processes make the dataset.")
    vocabulary: VocabularySettings = Field(VocabularySettings(), description="Which answers a model can give.")
    training: TrainingSettings = Field(TrainingSettings(), description="How the checkpoint is trained.")
    evaluation: EvaluationSettings = Field(EvaluationSettings(), description="What is scored and how.")
    champion: ChampionSettings = Field(ChampionSettings(), description="When a checkpoint replaces the one in use.")
    retrain: Literal["manual", "on_change"] | CronSettings = Field(
        "manual",
        description="manual; on_change: train again as soon as the content changed; or {cron, timezone}: if it did, at "
        "these times.",
    )
    keep: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        5,
        description="How many versions of each asset `vqa-pipeline prune` leaves, or all; what they, the current ones "
        "and the champion were made from stays too.",
    )
    observe: CronLine = Field(
        "*/30 * * * *",
        description="When the files of the sources are looked at, in UTC, where retraining is not manual.",
    )

    freshness: FreshnessSettings = Field(
        FreshnessSettings(), description="After how long without anything new Dagster warns."
    )

    @field_validator("sources")
    @classmethod
    def _unique_source_names(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        names = [source.name for source in sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sources are called {', '.join(twice)}; every source needs a name of its own")
        return sources


@dataclass(frozen=True)
class Pipeline:
    """A pipeline in its project: settings plus the folders they mean."""

    name: Annotated[str, "settings.name, or the name of the folder that declares it"]
    settings: PipelineSettings
    project_root: Path

    @property
    def store_folder(self) -> Path:
        """Published versions of this pipeline's assets."""
        return self.project_root / self.settings.store / self.name

    @property
    def scratch_folder(self) -> Path:
        """This pipeline's disposable files."""
        return self.project_root / self.settings.scratch / self.name

    def source(self, name: str) -> Source:
        """The settings of the source called `name`."""
        return next(source for source in self.settings.sources if source.name == name)
