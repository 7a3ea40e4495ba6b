"""From question files to what a training or a prediction needs of each question: tokens, image, credits of answers.

Reads `schemas.QUESTIONS` in batches, so that ten annotators' answers are never in memory for all questions at once.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from vqa_pipeline.answers.normalization import normalize, tidy
from vqa_pipeline.answers.scoring import MetricPolicy, score_answer, soft_targets
from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.errors import BackboneError
from vqa_pipeline.modeling.ragged import Credits, Ragged
from vqa_pipeline.schemas import Answer

_READ_AT_ONCE = 8192
_UNKNOWN_LIMIT = 0.5


class Asked:
    """Questions that have an image, in the order of their files."""

    def __init__(self) -> None:
        self.question_ids: list[str] = []
        self.questions: list[str] = []
        self.shas: list[str] = []
        """The sha256 of each question's image."""
        self.answer_types: list[str | None] = []
        """The type of each question's answer, where it was read and known."""

    def __len__(self) -> int:
        return len(self.question_ids)

    def append(self, row: dict[str, Any]) -> None:
        """Take a row of `schemas.QUESTIONS`."""
        self.question_ids.append(row["question_id"])
        self.questions.append(row["question"])
        self.shas.append(row["image_sha256"])
        self.answer_types.append(row.get("answer_type"))

    def select(self, positions: Iterable[int]) -> Asked:
        """Some of the questions, by their numbers."""
        chosen, some = list(positions), Asked()
        some.question_ids = [self.question_ids[position] for position in chosen]
        some.questions = [self.questions[position] for position in chosen]
        some.shas = [self.shas[position] for position in chosen]
        some.answer_types = [self.answer_types[position] for position in chosen]
        return some

    def show_other_images(self) -> Asked:
        """The same questions, each about the image of another; there are at least two.

        All questions about an image get the same other one, so that what was told together stays together. Which one is
        a pure function of the images, and every image is shown as often as another was.
        """
        images = sorted(set(self.shas), key=lambda sha: hashlib.sha256(f"shuffled {sha}".encode()).digest())
        others = dict(zip(images, [*images[1:], *images[:1]], strict=True))
        shown = Asked()
        shown.question_ids, shown.questions = self.question_ids, self.questions
        shown.shas, shown.answer_types = [others[sha] for sha in self.shas], self.answer_types
        return shown


class Tokenized(NamedTuple):
    """Questions as input ids."""

    input_ids: Ragged
    pad_id: int
    num_truncated: int
    """Questions longer than the backbone can read; their ends are cut off."""
    num_words: int
    """Words and pieces of words that the tokenizer found."""
    num_unknown: int
    """Those it does not know, all one and the same to the model."""
    max_tokens: int
    """More than this the backbone cannot read, [CLS] and [SEP] included."""


def read_asked(files: Sequence[Path]) -> Asked:
    """Every question that has an image, annotated or not."""
    asked = Asked()
    for row in _read_rows(files, ["question_id", "question", "image_sha256"]):
        asked.append(row)
    return asked


def read_training(files: Sequence[Path], vocabulary: AnswerVocabulary, policy: MetricPolicy) -> tuple[Asked, Credits]:
    """Questions to train on, and their soft targets; those without image or annotation are left out.

    A question whose answers are all outside the vocabulary stays: it teaches the model to be silent.
    """
    asked, targets = Asked(), []
    for row in _read_annotated(files):
        asked.append(row)
        found = {vocabulary.index_of(answer): credit for answer, credit in soft_targets(row["answers"], policy).items()}
        targets.append({index: credit for index, credit in found.items() if index is not None})
    return asked, Credits(targets, len(vocabulary))


def read_validation(files: Sequence[Path], vocabulary: AnswerVocabulary, policy: MetricPolicy) -> tuple[Asked, Credits]:
    """Questions to choose a checkpoint by, and what the metric gives for every answer of the vocabulary."""
    asked, scores, scorer = Asked(), [], _AnswerScorer(vocabulary, policy)
    for row in _read_annotated(files):
        asked.append(row)
        scores.append(scorer.score_all(row["answers"]))
    return asked, Credits(scores, len(vocabulary))


class _AnswerScorer:
    """Scores a whole vocabulary against one question's references, asking the metric only where it can be above 0.

    An answer earns nothing unless it equals a reference, tidied or normalized; which of the two, the metric decides.
    """

    def __init__(self, vocabulary: AnswerVocabulary, policy: MetricPolicy) -> None:
        self._answers, self._policy = vocabulary.answers, policy
        self._by_spelling: dict[str, set[int]] = defaultdict(set)
        for index, answer in enumerate(vocabulary.answers):
            self._by_spelling[tidy(answer)].add(index)
            self._by_spelling[normalize(answer)].add(index)

    def score_all(self, references: Sequence[Answer]) -> dict[int, float]:
        spellings = {tidy(reference["answer"]) for reference in references}
        spellings |= {normalize(spelling) for spelling in spellings}
        candidates = sorted({index for spelling in spellings for index in self._by_spelling.get(spelling, ())})
        scored = ((index, score_answer(self._answers[index], references, self._policy)) for index in candidates)
        return {index: score for index, score in scored if score}


def _read_annotated(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    rows = _read_rows(files, ["question_id", "question", "image_sha256", "answers", "answer_type"])
    return (row for row in rows if row["answers"])


def _read_rows(files: Sequence[Path], columns: list[str]) -> Iterator[dict[str, Any]]:
    for file in files:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(_READ_AT_ONCE, columns=columns):
                yield from (row for row in batch.to_pylist() if row["image_sha256"] is not None)


def tokenize(questions: Iterable[str], tokenizer: Any, max_tokens: int) -> Tokenized:
    """Input ids of questions, at most `max_tokens` each, [CLS] and [SEP] included.

    Every question gets its row, even one of which the tokenizer knows no word; `Tokenized.num_unknown` tells.
    """
    listed = list(questions)
    if not listed:
        return Tokenized(Ragged([]), tokenizer.pad_token_id, 0, 0, 0, max_tokens)
    whole = tokenizer(listed, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False)
    rows, unknown_id = whole["input_ids"], tokenizer.unk_token_id
    room = max_tokens - 2
    framed = [[tokenizer.cls_token_id, *ids[:room], tokenizer.sep_token_id] for ids in rows]
    return Tokenized(
        input_ids=Ragged(framed),
        pad_id=tokenizer.pad_token_id,
        num_truncated=sum(len(ids) > room for ids in rows),
        num_words=sum(map(len, rows)),
        num_unknown=sum(ids.count(unknown_id) for ids in rows),
        max_tokens=max_tokens,
    )


def check_known(tokenized: Tokenized, backbone: str) -> None:
    """Refuse a backbone whose tokenizer cannot be the one for the questions that it is to be trained on.

    Only for training questions: the others are answered as well as may be, because every question counts.

    Raises:
        BackboneError: its tokenizer knows fewer than half of the words.
    """
    if tokenized.num_unknown > _UNKNOWN_LIMIT * tokenized.num_words:
        num_known = tokenized.num_words - tokenized.num_unknown
        raise BackboneError(
            backbone,
            f"its tokenizer knows only {num_known} of {tokenized.num_words} words of the training questions",
            "Use a backbone for the language of the questions, or check its tokenizer files.",
        )


def describe_losses(tokenized: Tokenized, max_tokens: int, split: str) -> list[str]:
    """What was lost of a split's questions on their way to input ids, for the log: at most two sentences."""
    told = []
    if tokenized.num_truncated:
        told.append(f"{tokenized.num_truncated} {split} questions are longer than {max_tokens} tokens and are cut.")
    if tokenized.num_unknown:
        told.append(
            f"The tokenizer does not know {tokenized.num_unknown} of {tokenized.num_words} words of the {split} "
            "questions; the model cannot tell these words apart."
        )
    return told
