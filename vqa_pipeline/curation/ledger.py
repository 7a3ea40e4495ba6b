"""The ledger: every raw row has exactly one fate. What was read and what was written are counted apart and compared."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from vqa_pipeline.schemas import FATES, Fate, Frozen


class SourceLedger(Frozen):
    """The account of one source."""

    num_question_records: int = Field(description="Question records, counted when they were read.")
    num_annotation_records: int = Field(description="Annotation records, counted when they were read.")
    num_joined_annotations: int = Field(description="Annotations that became part of a question; no rows of their own.")
    fates: dict[Fate, dict[str, int]] = Field(description="Rows by fate and rule, counted in the files written.")

    @property
    def num_rows(self) -> int:
        """Raw rows: questions, and annotations that found none."""
        return self.num_question_records + self.num_annotation_records - self.num_joined_annotations

    def count(self, fate: Fate) -> int:
        """Rows with this fate."""
        return sum(self.fates.get(fate, {}).values())


class Ledger(Frozen):
    """The account of a dataset, by source."""

    sources: dict[str, SourceLedger]

    @property
    def num_rows(self) -> int:
        """Raw rows of all sources."""
        return sum(source.num_rows for source in self.sources.values())

    @property
    def num_rejected(self) -> int:
        """Rejected rows of all sources."""
        return self.count("rejected")

    def count(self, fate: Fate) -> int:
        """Rows of all sources with this fate."""
        return sum(source.count(fate) for source in self.sources.values())

    def find_imbalances(self) -> list[str]:
        """One sentence for each source whose rows read are not the rows written."""
        problems = []
        for name, source in self.sources.items():
            fates = sum(source.count(fate) for fate in FATES)
            if fates != source.num_rows:
                problems.append(
                    f"source {name}: {source.num_rows} rows were read, but {fates} have a fate "
                    f"({abs(source.num_rows - fates)} {'lost' if fates < source.num_rows else 'too many'})"
                )
        return problems


def arrange_fates(counted: Mapping[tuple[str, Fate, str], int]) -> dict[str, dict[Fate, dict[str, int]]]:
    """Counts by (source, fate, rule), arranged by source, fate and rule, each in alphabetical order."""
    fates: dict[str, dict[Fate, dict[str, int]]] = {}
    for (source, fate, rule), count in sorted(counted.items()):
        fates.setdefault(source, {}).setdefault(fate, {})[rule] = count
    return fates
