"""`trace`: where an answer came from, and what a line of a source's file became."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from vqa_pipeline.cli.options import AsJson, DeclarationFile, PipelineName, find_pipeline
from vqa_pipeline.cli.tables import format_table
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.reporting.escaping import escape_control, shorten
from vqa_pipeline.schemas import SHUFFLED_IMAGE

if TYPE_CHECKING:
    from vqa_pipeline.lineage.places import Became
    from vqa_pipeline.lineage.raw_records import RawPlace
    from vqa_pipeline.lineage.tracing import Trace

_RAW_CHARACTERS = 2000
_STATES = {
    "unchanged": "its file is still what was read",
    "changed": "its file has changed since it was read",
    "missing": "its file is not there any more",
    "unknown": "nothing is known of its file",
}

QuestionId = Annotated[
    str | None, typer.Argument(metavar="[QUESTION_ID]", help="Such as radiology/17.", show_default=False)
]
SourcePlace = Annotated[
    str | None,
    typer.Option("--source", metavar="FILE:LINE", help="What became of a line, or of a record: FILE[NUMBER]."),
]


class Told(NamedTuple):
    """What was found, for programs and for people."""

    json: dict[str, Any]
    lines: Iterator[str]


def trace(
    question_id: QuestionId = None,
    source: SourcePlace = None,
    pipeline: PipelineName = None,
    file: DeclarationFile = None,
    as_json: AsJson = False,
) -> None:
    """Where an answer came from: prediction, example, raw record, versions; or what became of a line."""
    chosen = find_pipeline(pipeline, file)
    if (question_id is None) == (source is None):
        raise SettingsError("QUESTION_ID", "one question or one place is traced", "Name it, or `--source FILE:LINE`.")
    told, lines = _trace_question(chosen, question_id) if question_id else _trace_place(chosen, str(source))
    print(json.dumps(told, indent=1) if as_json else "\n".join(map(escape_control, lines)))


def _trace_question(pipeline: Pipeline, question_id: str) -> Told:
    from vqa_pipeline.lineage.tracing import trace_question

    found = trace_question(pipeline, question_id)
    return Told(found.model_dump(mode="json"), _tell(found))


def _trace_place(pipeline: Pipeline, source: str) -> Told:
    from vqa_pipeline.lineage.places import trace_place

    found = trace_place(pipeline, source)
    told = {"source": source, "records": [place.model_dump(mode="json") for place in found]}
    blocks = (["", *_tell_place(place)] for place in found)
    return Told(told, islice(chain.from_iterable(blocks), 1, None))


def _tell(trace: Trace) -> Iterator[str]:
    example = trace.example
    if example is not None:
        yield f"{trace.question_id}  accepted, {example['split']}"
        yield from _tell_example(example, trace.image)
        yield from _tell_predictions(trace)
    else:
        yield f"{trace.question_id}  {trace.fate}"
    for place in trace.records:
        yield ""
        yield from _tell_record(place)
    for reject in trace.rejects:
        yield ""
        yield from _tell_reject(reject)
    yield ""
    rows = [
        (one.asset, one.version, f"{one.published_at:%Y-%m-%d %H:%M}", "" if one.is_current else "not current")
        for one in trace.versions
    ]
    yield from format_table(rows, ("came through", "version", "published (UTC)", "")).splitlines()


def _tell_example(example: Mapping[str, Any], image: Mapping[str, Any] | None) -> Iterator[str]:
    counted = Counter(answer["answer"] for answer in example["answers"] or ()).most_common()
    answers = [text if times == 1 else f"{text} ({times} times)" for text, times in counted]
    yield f"  question  {example['question']}"
    yield f"  answers   {', '.join(answers) or 'none: it is not annotated'}"
    yield f"  image     {example['image']}" + (_tell_image(image) if image else "")
    for repair in example["repairs"]:
        yield f"  {repair['kind']}: {repair['before'] or 'nothing'} → {repair['after'] or 'as it was read'}"


def _tell_image(image: Mapping[str, Any]) -> str:
    altered = "".join(f", {alteration}" for alteration in image["alterations"])
    return f" ({image['format']}, {image['width']} x {image['height']} pixels{altered}; sha256 {image['image_sha256']})"


def _tell_predictions(trace: Trace) -> Iterator[str]:
    yield ""
    if not trace.predictions:
        yield "not predicted"
    for row in trace.predictions:
        credit = _find_credit(trace.scores, row)
        earned = "" if credit is None else f", which earns {credit:.3f}"
        yield f"{_tell_who(trace, row)} answered {row['answer']}{earned}"
        others = ", ".join(f"{one['answer']} {_tell_sureness(one):.3f}" for one in row["top_answers"])
        yield f"  best      {others}"
    for answer, index in trace.answer_indexes.items():
        place = "not in the vocabulary" if index is None else f"index {index} of the vocabulary"
        yield f"  {answer}: {place}"


def _tell_who(trace: Trace, row: Mapping[str, Any]) -> str:
    version = trace.checkpoint_versions.get(row["checkpoint"], "that is gone")
    in_use = ", which is in use," if row["checkpoint"] == trace.champion else ""
    shown = " shown another question's image" if row["variant"] == SHUFFLED_IMAGE else ""
    return f"checkpoint {version}{in_use}{shown}"


def _tell_sureness(answer: Mapping[str, Any]) -> float:
    """The probability that it is right; predictions made before checkpoints were calibrated have scores alone."""
    return float(answer.get("probability", answer["score"]))


def _find_credit(scores: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> float | None:
    same = (one["score"] for one in scores if all(one[name] == row[name] for name in ("variant", "checkpoint")))
    return next(same, None)


def _tell_record(place: RawPlace) -> Iterator[str]:
    yield f"{place.kind} read from {place.source}: {place.locator}; {_STATES[place.file_state]}"
    yield f"  raw       {shorten(place.raw, _RAW_CHARACTERS)}"


def _tell_reject(reject: Mapping[str, Any]) -> Iterator[str]:
    yield f"{reject['source']}: {reject['locator']}  {reject['fate']}, {reject['rule']}"
    yield f"  why       {reject['reason']}"
    yield f"  fix       {reject['fix']}"
    yield f"  raw       {shorten(reject['raw'], _RAW_CHARACTERS)}"


def _tell_place(place: Became) -> Iterator[str]:
    question = f"  {place.question_id}" if place.question_id else ""
    rule = f", {place.rule}" if place.rule else ""
    yield f"{place.source}: {place.locator}{question}  {place.kind} {place.fate}{rule}"
    if place.rule:
        yield f"  why       {place.reason}"
        yield f"  fix       {place.fix}"
    yield f"  raw       {shorten(place.raw, _RAW_CHARACTERS)}"
    if place.file_state != "unchanged":
        yield f"  {_STATES[place.file_state]}"
