"""`conversations`: dialogues about a picture, which instruction-tuned models learn from: a JSON list or JSON Lines.

Four shapes of record, told apart by the field that holds the text:

- LLaVA, InternLM: `{image, conversations: [{from: human, value}, {from: gpt | bot, value}, …]}`
- LLaMA-Factory, ShareGPT: `{images, messages: [{role: user, content}, {role: assistant, content}, …]}`
- LLaVA's answers: `{image, instruction, output, type}`
- LLaVA's questions without answers: `{question_id, image, text, category}`

Each turn of the person is a question, and the reply is its answer, however long; earlier turns are not part of it. A
last turn without a reply is an unanswered question. System turns ask nothing and are passed over. `image` and `images`
are a path, a list or absent; a list may name one picture several times. `<image>` marks where a model gets the picture;
it is no part of the question and is cut out with the blanks and line breaks around it. `id` is that of the picture or
the dialogue, never of a question, so only `question_id` is taken for one.

Sources: https://github.com/haotian-liu/LLaVA/blob/main/docs/Finetune_Custom_Data.md,
https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from vqa_pipeline.schemas import Locator, QuestionFields
from vqa_pipeline.sources.formats.format import MalformedRecord, Recognition, Sample
from vqa_pipeline.sources.formats.records import (
    Id,
    RecordsFormat,
    RecordsSource,
    claim,
    hold,
    in_list_or_lines,
    take_answers,
)
from vqa_pipeline.sources.settings import ImageSplits

_MARK = re.compile(r"\s*<image>\s*")
_ASKING, _REPLYING, _SYSTEM = {"human", "user"}, {"gpt", "bot", "assistant"}, "system"

_Said = TypedDict("_Said", {"from": str, "value": str})
_Images = str | list[str] | None


class _Message(TypedDict):
    role: str
    content: str


class _Record(TypedDict):
    conversations: NotRequired[list[_Said]]
    messages: NotRequired[list[_Message]]
    instruction: NotRequired[str]
    output: NotRequired[str]
    text: NotRequired[str]
    question_id: NotRequired[Id]
    image: NotRequired[_Images]
    images: NotRequired[_Images]
    type: NotRequired[str | None]
    category: NotRequired[str | None]


class ConversationsSource(RecordsSource):
    """Dialogues about pictures, as LLaVA, InternLM and LLaMA-Factory are taught with."""

    format: Literal["conversations"] = Field(description="Kind of source: conversations.")
    splits: ImageSplits = Field("by_image", description="by_image, train, val, test or {list: FILES}.")


def _ask(_settings: ConversationsSource, record: _Record, _locator: Locator) -> list[QuestionFields]:
    turns = _pair_turns(record)
    image = _take_image(record)
    return [
        QuestionFields(
            native_id=record.get("question_id") if len(turns) == 1 else None,
            image=image,
            question=_cut_marks(asked),
            split=None,
            question_type=record.get("type", record.get("category")),
            answer_type=None,
            answers=None if reply is None else take_answers(reply),
        )
        for asked, reply in turns
    ]


def _pair_turns(record: _Record) -> list[tuple[str, str | None]]:
    """Each question with its reply; the last may have none."""
    said = [(speaker, text) for speaker, text in _list_turns(record) if speaker != _SYSTEM]
    for number, (speaker, _) in enumerate(said):
        if speaker not in (_REPLYING if number % 2 else _ASKING):
            expected = "a reply" if number % 2 else "a question"
            reason = f"turn {number + 1} is by {speaker!r:.40}, where {expected} was expected"
            raise MalformedRecord("turns_out_of_order", reason, "Let questions and replies take turns.")
    texts = [text for _, text in said]
    return list(zip_longest(texts[::2], texts[1::2]))


def _list_turns(record: _Record) -> Iterator[tuple[str, str]]:
    """Who says what, in whichever shape."""
    if "conversations" in record:
        yield from ((said["from"], said["value"]) for said in record["conversations"])
    elif "messages" in record:
        yield from ((message["role"], message["content"]) for message in record["messages"])
    elif "instruction" in record or "text" in record:
        yield "user", record.get("instruction", record.get("text", ""))
        if "output" in record:
            yield "assistant", record["output"]
    else:
        reason = "the record has none of `conversations`, `messages`, `instruction` and `text`"
        raise MalformedRecord("record_malformed", reason, "Give the record the form of the others.")


def _take_image(record: _Record) -> str:
    """The one picture that the record is about."""
    named = record.get("images") or record.get("image") or []
    images = list(dict.fromkeys([named] if isinstance(named, str) else named))
    if not images:
        reason = "the record names no image: it is text only"
        raise MalformedRecord("image_path_empty", reason, "Nothing to do: a question is about one image here.")
    if len(images) > 1:
        reason = f"the record is about {len(images)} images, {images[0]!r:.80} and others"
        raise MalformedRecord("images_several", reason, "Nothing to do: a question is about one image here.")
    return images[0]


def _cut_marks(text: str) -> str:
    return " ".join(part for part in _MARK.split(text) if part)


def _recognize(sample: Sample) -> Recognition | None:
    if sample.layout not in {"list", "lines"}:
        return None
    if hold(sample, "conversations") or hold(sample, "messages"):
        return claim(sample, 1.0)
    is_question = hold(sample, "image", "instruction", "output") or hold(sample, "image", "question_id", "text")
    return claim(sample, 0.8) if is_question else None


CONVERSATIONS = RecordsFormat(in_list_or_lines, TypeAdapter(_Record), _ask, _recognize)
