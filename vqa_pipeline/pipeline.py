"""What a pipeline is: its settings, composed of the rooms' own, and the places it uses in a project.

Loads without Dagster, torch, transformers and pandas.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from vqa_pipeline.answers.settings import VocabularySettings
from vqa_pipeline.curation.settings import ComputeSettings, DatasetSettings
from vqa_pipeline.evaluation.settings import ChampionSettings, EvaluationSettings
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.schemas import Frozen, Name
from vqa_pipeline.sources.formats import Source


class _CronField(NamedTuple):
    """One field of a cron line."""

    name: str
    values: range
    words: tuple[str, ...] = ()
    """What the values may be called, from the first on."""

    def read(self, text: str) -> set[int]:
        """The values that a field's text chooses."""
        return {value for item in text.lower().split(",") for value in self._read_item(item)}

    def _read_item(self, item: str) -> range:
        match = _CRON_ITEM.fullmatch(item)
        if match:
            low, high, step = match["low"], match["high"], int(match["step"] or 1)
            first = self._read_value(low) if low else self.values[0]
            last = self._read_value(high) if high else first if low and not match["step"] else self.values[-1]
            if first is not None and last is not None and first <= last and 0 < step <= len(self.values):
                return range(first, last + 1, step)
        words = f" or {self.words[0]} to {self.words[-1]}" if self.words else ""
        allowed = f"{self.values[0]} to {self.values[-1]}{words}, a range such as 1-5, *, or every second as */2"
        raise ValueError(f"{item!r} is no {self.name}: write {allowed}; several are separated by commas")

    def _read_value(self, text: str) -> int | None:
        """None when it is out of range."""
        value = self.values[0] + self.words.index(text) if text in self.words else int(text) if text.isdigit() else -1
        return value if value in self.values else None


_CRON_ITEM = re.compile(r"(?:\*|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\d{1,3}))?", re.ASCII)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_CRON_FIELDS = (
    _CronField("minute", range(60)),
    _CronField("hour", range(24)),
    _CronField("day of month", range(1, 32)),
    _CronField("month", range(1, 13), _MONTHS),
    _CronField("day of week", range(8), ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


class CronSettings(Frozen):
    """Train again at these times, if the content changed since the last training was requested."""

    cron: str = Field(description="Five cron fields: minute, hour, day of month, month, day of week.")
    timezone: str = Field("UTC", description="IANA time zone of the cron fields, such as Europe/Berlin.")

    @field_validator("cron")
    @classmethod
    def _check_cron(cls, cron: str) -> str:
        """Plain cron only: whatever passes here is a schedule to Dagster, which would complain far from this line."""
        texts = cron.split()
        if len(texts) != len(_CRON_FIELDS):
            raise ValueError("a cron line has five fields, such as `0 2 * * *`")
        _, _, days, months, _ = (field.read(text) for field, text in zip(_CRON_FIELDS, texts, strict=True))
        if min(days) > max(_LONGEST_MONTH[month - 1] for month in months):
            raise ValueError(f"day {min(days)} is in none of its months")
        return cron

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
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
    compute: ComputeSettings = Field(ComputeSettings(), description="How many processes make the dataset.")
    vocabulary: VocabularySettings = Field(VocabularySettings(), description="Which answers a model can give.")
    training: TrainingSettings = Field(TrainingSettings(), description="How the checkpoint is trained.")
    evaluation: EvaluationSettings = Field(EvaluationSettings(), description="What is scored and how.")
    champion: ChampionSettings = Field(ChampionSettings(), description="When a checkpoint replaces the one in use.")
    retrain: Literal["manual"] | CronSettings = Field(
        "manual", description="manual, or {cron, timezone}: train again at these times if the content changed."
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
