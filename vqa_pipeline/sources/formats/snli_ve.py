"""`snli_ve`: SNLI-VE, hypotheses that a picture entails, contradicts or leaves open: JSON Lines.

The hypothesis (`sentence2`) stands as the question, unchanged: it is a statement. The picture takes the place of the
premise, which is not asked. The one answer is `gold_label`, what the task is scored by; the annotators' own labels stay
in the raw record. `-` says that they did not agree.

Source: https://github.com/necla-ml/SNLI-VE
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from vqa_pipeline.schemas import Locator, QuestionFields
from vqa_pipeline.sources.formats.format import MalformedRecord, Recognition, Sample
from vqa_pipeline.sources.formats.records import (
    Id,
    RecordsFormat,
    RecordsSource,
    claim_by_name,
    hold,
    in_lines,
    take_answers,
)
from vqa_pipeline.sources.settings import DeclaredSplits


class _Pair(TypedDict):
    pairID: Id
    Flickr30K_ID: str
    sentence2: str
    gold_label: str


class SnliVeSource(RecordsSource):
    """SNLI-VE: does the picture entail this sentence?"""

    format: Literal["snli_ve"] = Field(description="Kind of source: snli_ve.")
    splits: DeclaredSplits = Field(
        "declared",
        description="declared (the file's name: train, dev, test), by_image, train, val, test or {list: FILES}.",
    )


def _ask(_settings: SnliVeSource, pair: _Pair, _locator: Locator) -> list[QuestionFields]:
    if pair["gold_label"] == "-":
        reason = "its annotators did not agree on a label (gold_label is -)"
        raise MalformedRecord("answers_disagree", reason, "Nothing to do: the task leaves such pairs out.")
    return [
        QuestionFields(
            native_id=pair["pairID"],
            image=f"{pair['Flickr30K_ID']}.jpg",
            question=pair["sentence2"],
            split=None,
            question_type=None,
            answer_type=None,
            answers=take_answers(pair["gold_label"]),
        )
    ]


def _recognize(sample: Sample) -> Recognition | None:
    if sample.layout != "lines" or not hold(sample, "Flickr30K_ID", "pairID", "sentence2", "gold_label"):
        return None
    return claim_by_name(sample, 1.0)


SNLI_VE = RecordsFormat(in_lines, TypeAdapter(_Pair), _ask, _recognize)
