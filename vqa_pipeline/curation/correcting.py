"""Corrections applied to the rows of a source while they are read, and an account of those that fit no row.

A correction that changes a row is recorded on it as a repair: nobody takes it for what the source says. Reads no file;
whoever reads the source asks for each row.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from vqa_pipeline.curation.corrections import Correction, show_answers, show_raw
from vqa_pipeline.schemas import Answer, QuestionFields, RawRecord, Reject, Repair

CORRECTED_ANSWERS = "corrected_answers"
"""Kind of the repair that puts a question's own answers before those of its annotation."""

ACCEPTED = "accepted_by_correction"
"""Kind of the repair by which a person takes a question that a rule between rows would leave out."""

WAIVABLE_RULES = ("annotation_missing", "duplicate_question", "leakage")
"""The rules that `accept` waives; what breaks another one cannot be used as it is."""


def is_correction(kind: str) -> bool:
    """Whether a repair of this kind is a person's, not the pipeline's."""
    return kind == ACCEPTED or kind.startswith("corrected_")


class Unfit(NamedTuple):
    """A correction that was not applied, and why."""

    key: str
    reason: str

    def describe(self) -> str:
        """In a clause."""
        return f"{self.key} ({self.reason})"


class Corrector:
    """The corrections of a source, by the rows that they are about."""

    def __init__(self, corrections: Iterable[Correction]) -> None:
        self._corrections = tuple(corrections)
        self._by_key: defaultdict[str, list[Correction]] = defaultdict(list)
        for one in self._corrections:
            self._by_key[one.question_id or str(one.locator)].append(one)
        self._used: set[Correction] = set()
        self._reasons: dict[Correction, str] = {}

    def find(self, question_id: str | None, raw: RawRecord) -> Correction | None:
        """The correction of a row, by its id or its place; one that names another record than this is not applied."""
        for one in self._list(question_id, raw):
            if one.raw is None or one.kind not in {None, raw.kind} or one.raw == _show(raw):
                self._used.add(one)
                return one
            self._reasons[one] = "the record has changed since"
        return None

    def drops(self, question_id: str, annotation: RawRecord) -> bool:
        """Whether an annotation goes with a question that is dropped, or is dropped itself."""
        for one in self._list(question_id, annotation):
            if one.action == "drop" and (one.kind == "question" or one.raw in {None, _show(annotation)}):
                self._used.add(one)
                return True
        return False

    def _list(self, question_id: str | None, raw: RawRecord) -> list[Correction]:
        by_id = self._by_key.get(question_id, []) if question_id is not None else []
        return by_id + self._by_key.get(str(raw.locator), [])

    def refuse(self, correction: Correction, reason: str) -> None:
        """Note that a correction found its row, but cannot be applied."""
        self._reasons[correction] = reason
        self._used.discard(correction)

    def count(self) -> dict[str, int]:
        """Corrections applied, by action."""
        return dict(sorted(Counter(one.action for one in self._used).items()))

    def list_unfit(self) -> list[Unfit]:
        """Corrections that were not applied, in the order of their file."""
        return [
            Unfit(one.question_id or str(one.locator), self._reasons.get(one, "no row has this key"))
            for one in self._corrections
            if one not in self._used
        ]


def _show(raw: RawRecord) -> str:
    return show_raw(raw.payload.decode("utf-8", errors="backslashreplace")).strip()


def edit(fields: QuestionFields, correction: Correction) -> tuple[QuestionFields, list[Repair]]:
    """What a person made of a question's fields, and a repair for each field that differs."""
    edited, repairs = fields.copy(), []
    for name in ("question", "image", "split"):
        new = getattr(correction, name)
        if new is not None and new != fields[name]:
            repairs.append(Repair(kind=f"corrected_{name}", before=fields[name] or "", after=new))
            edited[name] = new
    if correction.answers is not None:
        before = [answer["answer"] for answer in fields["answers"] or ()]
        after = show_answers(correction.answers)
        repairs.append(Repair(kind=CORRECTED_ANSWERS, before=show_answers(before) if before else "", after=after))
        edited["answers"] = [
            Answer(answer=text, answer_id=number, answer_confidence=None)
            for number, text in enumerate(correction.answers, 1)
        ]
    if correction.action == "accept":
        repairs.append(Repair(kind=ACCEPTED, before="", after=""))
    return edited, repairs


def leave_out(raw: RawRecord, question_id: str | None) -> Reject:
    """A row that a correction drops."""
    reason, fix = "a correction drops it", "Nothing to do: remove the correction to have it back."
    return Reject("corrected_drop", reason, fix, raw, question_id, "excluded")
