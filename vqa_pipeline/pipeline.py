"""What a pipeline is: its settings, composed of the rooms' own, and the places it uses in a project.

Loads without Dagster, torch, transformers and pandas.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from vqa_pipeline.answers.settings import VocabularySettings
from vqa_pipeline.curation.settings import DatasetSettings
from vqa_pipeline.evaluation.settings import EvaluationSettings
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.schemas import Frozen, Name
from vqa_pipeline.sources.formats import Source


class CronSettings(Frozen):
    """Train again at these times, if the content changed since the last training was requested."""

    cron: str = Field(description="Five cron fields: minute, hour, day of month, month, day of week.")
    timezone: str = Field("UTC", description="IANA time zone of the cron fields, such as Europe/Berlin.")

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, cron: str) -> str:
        if len(cron.split()) != 5:  # noqa: PLR2004 - a cron line has five fields
            raise ValueError("a cron line has five fields, such as `0 2 * * *`")
        return cron

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{timezone!r} is not an IANA time zone such as Europe/Berlin") from error
        return timezone


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
    vocabulary: VocabularySettings = Field(VocabularySettings(), description="Which answers a model can give.")
    training: TrainingSettings = Field(TrainingSettings(), description="How the checkpoint is trained.")
    evaluation: EvaluationSettings = Field(EvaluationSettings(), description="What is scored and how.")
    retrain: Literal["manual"] | CronSettings = Field(
        "manual", description="manual, or {cron, timezone}: train again at these times if the content changed."
    )

    @model_validator(mode="after")
    def _unique_source_names(self) -> PipelineSettings:
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sources are called {', '.join(twice)}; every source needs a name of its own")
        return self


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
