"""What becomes of a raw record by what it alone can tell: a row of its kind's records, or a reject with its reason.

The checks that all formats share, and corrections. Reads the source's own files, and writes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from vqa_pipeline.curation.correcting import Corrector, edit, leave_out
from vqa_pipeline.curation.paths import check_reference
from vqa_pipeline.curation.splits import parse_split
from vqa_pipeline.schemas import (
    AnnotationFields,
    Answer,
    QuestionFields,
    RawRecord,
    Reject,
    Repair,
    Split,
)
from vqa_pipeline.sources.formats import Source, get_format
from vqa_pipeline.sources.formats.format import MalformedRecord, Parser, find_json_problem
from vqa_pipeline.sources.formats.split_lists import SplitLists
from vqa_pipeline.sources.settings import SplitList

_SHOWN_ERRORS = 3


def validate_records(
    source: Source, root: Path, most: int | None = None, corrector: Corrector | None = None
) -> Iterator[tuple[RawRecord, dict[str, Any] | Reject]]:
    """Each raw record of a source with what becomes of it: a row of its kind's records, or a reject.

    With `most`, only the first so many records of each file. With a corrector, corrections are applied.

    Raises:
        SourceError: a file is missing, unreadable or not of its format.
    """
    lists = SplitLists(source.name, source.splits, root) if isinstance(source.splits, SplitList) else None
    validate = _Validator(source, get_format(source).build_parser(source, root), lists, corrector)
    for raw in get_format(source).read(source, root, most):
        yield raw, validate(raw)


class _Validator:
    """The checks that all formats share, on one raw record at a time."""

    def __init__(
        self, source: Source, parse: Parser, lists: SplitLists | None = None, corrector: Corrector | None = None
    ) -> None:
        self.source, self.parse, self.lists, self.corrector = source, parse, lists, corrector
        self.forced: Split | None = parse_split(source.splits) if isinstance(source.splits, str) else None

    def __call__(self, raw: RawRecord) -> dict[str, Any] | Reject:
        asked: QuestionFields | None = None
        question_id: str | None = None
        try:
            fields = self.parse(raw)
            _check_numbers(raw.payload)
            if raw.kind == "annotation":
                question_id = f"{self.source.name}/{fields['native_id']}"
                return self._build_annotation(cast("AnnotationFields", fields), raw, question_id)
            asked = cast("QuestionFields", fields)
            question_id = self._find_id(asked) if self.corrector else None
            return self._build_question(asked, raw, question_id)
        except MalformedRecord as error:
            question_id = question_id if asked is None else self._find_id(asked)
            image = None if asked is None else asked["image"]
            reject = Reject(error.rule, error.reason, error.fix, raw, question_id, image=image)
        except ValidationError as error:
            reject = _explain(error, raw)
        return self._correct_reject(reject)

    def _build_question(
        self, fields: QuestionFields, raw: RawRecord, question_id: str | None
    ) -> dict[str, Any] | Reject:
        """A question; a corrected one keeps the id that it has without correction, so that the two stay together."""
        correction = self.corrector.find(question_id, raw) if self.corrector else None
        corrections: list[Repair] = []
        if correction is not None:
            if correction.action == "drop":
                return leave_out(raw, question_id)
            fields, corrections = edit(fields, correction)
        question = fields["question"]
        if not question.strip():
            raise MalformedRecord("question_empty", "the question is empty", "Write the question, or remove the row.")
        image, repairs = check_reference(fields["image"])
        return {
            "question_id": question_id or self._name_question(fields["native_id"], image, question),
            "native_id": _write_id(fields["native_id"]),
            "image": image,
            "question": question,
            "split": (correction and correction.split)
            or self.forced
            or _read_split(self._find_split(fields, image, raw)),
            "question_type": fields["question_type"],
            "answer_type": fields["answer_type"],
            "paraphrase_of": fields.get("paraphrase_of"),
            "answers": _check_answers(fields["answers"]),
            "repairs": corrections + repairs,
            "locator": raw.locator,
            "raw": raw.payload,
        }

    def _correct_reject(self, reject: Reject) -> Reject:
        """A row that stays rejected, unless a correction drops it; what else a correction says of it cannot be done."""
        correction = self.corrector.find(reject.question_id, reject.raw) if self.corrector else None
        if self.corrector is None or correction is None:
            return reject
        if correction.action == "drop":
            return leave_out(reject.raw, reject.question_id)
        advice = "waived" if correction.action == "accept" else "mended so: mend the record itself, or drop it"
        self.corrector.refuse(correction, f"{reject.rule}, {reject.reason}; that cannot be {advice}")
        return reject

    def _find_id(self, fields: QuestionFields) -> str | None:
        """The id of a question before it is corrected; None where it has none and none can be made."""
        try:
            image = fields["image"] if fields["native_id"] is not None else check_reference(fields["image"])[0]
        except MalformedRecord:
            return None
        return self._name_question(fields["native_id"], image, fields["question"])

    def _build_annotation(self, fields: AnnotationFields, raw: RawRecord, question_id: str) -> dict[str, Any] | Reject:
        if self.corrector is not None and self.corrector.drops(question_id, raw):
            return leave_out(raw, question_id)
        return {
            "question_id": question_id,
            "question_type": fields["question_type"],
            "answer_type": fields["answer_type"],
            "answers": _check_answers(fields["answers"]),
            "locator": raw.locator,
            "raw": raw.payload,
        }

    def _find_split(self, fields: QuestionFields, image: str, raw: RawRecord) -> str | None:
        """The split in the source's own words; lists know an image inside a file by what the file calls it."""
        listed = raw.image.path if raw.image and raw.image.path else image
        return self.lists.find(listed, fields["native_id"]) if self.lists else fields["split"]

    def _name_question(self, native_id: int | str | None, image: str, question: str) -> str:
        if native_id is None:
            native_id = hashlib.sha256(f"{len(image)}:{image}{question}".encode()).hexdigest()[:16]
        return f"{self.source.name}/{native_id}"


def _write_id(native_id: int | str | None) -> str | None:
    """An id as JSON; a number, which most are, without the encoder's calls."""
    if native_id is None:
        return None
    return str(native_id) if type(native_id) is int else json.dumps(native_id, ensure_ascii=False)


def _check_numbers(payload: bytes) -> None:
    """Refuse NaN and Infinity, which parsers take for numbers.

    Looks for one letter first, which is found in a quarter of the time and is in few of the long records.
    """
    is_odd = (b"N" in payload and b"NaN" in payload) or (b"I" in payload and b"Infinity" in payload)
    if is_odd and payload.startswith((b"{", b"[")):
        problem = find_json_problem(payload)
        if problem is not None:
            raise problem


def _read_split(word: str | None) -> Split | None:
    if word is None:
        return None
    split = parse_split(word)
    if split is None:
        reason = f"{word!r:.40} is no split"
        raise MalformedRecord("split_unknown", reason, "Write train, val (valid, validation, dev) or test.")
    return split


def _check_answers(answers: list[Answer] | None) -> list[Answer] | None:
    if answers is not None and not any(answer["answer"].strip() for answer in answers):
        raise MalformedRecord("answers_empty", "there is no answer in it", "Write an answer, or remove the row.")
    return answers


def _explain(error: ValidationError, raw: RawRecord) -> Reject:
    """What Pydantic found, in a sentence."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    problem = find_json_problem(raw.payload) if found[0]["type"] == "json_invalid" else None
    if problem is not None:
        return Reject(problem.rule, problem.reason, problem.fix, raw)
    told = [f"{'.'.join(map(str, one['loc'])) or 'the record'}: {one['msg']}" for one in found[:_SHOWN_ERRORS]]
    more = f"; and {len(found) - _SHOWN_ERRORS} more" if len(found) > _SHOWN_ERRORS else ""
    return Reject("record_malformed", "; ".join(told) + more, "Give the record the form of the others.", raw)
