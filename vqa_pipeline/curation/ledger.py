"""The ledger: every raw row has exactly one fate. What was read and what was written are counted apart and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pydantic import Field

from vqa_pipeline.schemas import FATES, Fate, Frozen

_TOLD_RULES = 4


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

    def describe(self) -> str:
        """What became of the rows, such as `20 rows: 17 accepted, 3 rejected (image_missing 2, split_unknown 1)`."""
        told = [
            f"{self.count(fate)} {fate}" + ("" if fate == "accepted" else f" ({tell_rules(self.fates[fate])})")
            for fate in FATES
            if self.count(fate)
        ]
        return f"{self.num_rows} rows" + (f": {', '.join(told)}" if told else "")


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

    def count_rules(self, fate: Fate) -> dict[str, int]:
        """Rows of all sources with this fate, by rule."""
        counted: Counter[str] = Counter()
        for source in self.sources.values():
            counted.update(source.fates.get(fate, {}))
        return dict(counted)

    def find_emptiness(self) -> list[str]:
        """What says that there is no data set: no accepted question, or a source without any row."""
        problems = []
        if not self.count("accepted"):
            accounts = "; ".join(f"source {name}: {source.describe()}" for name, source in self.sources.items())
            problems.append(f"no question is accepted ({accounts}): the page of the candidate tells why")
        return problems + [
            f"source {name} gave no row: bring its rows, or remove it from `sources`"
            for name, source in self.sources.items()
            if not source.num_rows
        ]

    def find_imbalances(self) -> list[str]:
        """One sentence for each source whose rows read are not the rows written."""
        problems = []
        for name, source in self.sources.items():
            fates = sum(source.count(fate) for fate in FATES)
            if fates != source.num_rows:
                problems.append(
                    f"source {name}: {source.num_rows} rows were read, but {fates} have a fate "
                    f"({abs(source.num_rows - fates)} {'lost' if fates < source.num_rows else 'too many'}): this is a "
                    "defect of vqa_pipeline, please report it"
                )
        return problems


def tell_rules(counted: Mapping[str, int]) -> str:
    """Rules with their counts, the most frequent first: `image_missing 120, split_unknown 3`."""
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{rule} {count}" for rule, count in ordered[:_TOLD_RULES]]
    return ", ".join(told + ["…"] * (len(ordered) > _TOLD_RULES))


def arrange_fates(counted: Mapping[tuple[str, Fate, str], int]) -> dict[str, dict[Fate, dict[str, int]]]:
    """Counts by (source, fate, rule), arranged by source, fate and rule, each in alphabetical order."""
    fates: dict[str, dict[Fate, dict[str, int]]] = {}
    for (source, fate, rule), count in sorted(counted.items()):
        fates.setdefault(source, {}).setdefault(fate, {})[rule] = count
    return fates
