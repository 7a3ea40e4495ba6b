"""The answer vocabulary: the ordered list of answers that a model can give, and what that list can reach.

A checkpoint and everything that reads its output must mean the same answer by the same index; the fingerprint of the
list says whether they do. Building it is deterministic and blind to the order of the questions. Only the annotations of
training questions may be counted: those of other splits would leak.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Self

from pydantic import Field, model_validator

from vqa_pipeline.answers.normalization import normalize, tidy
from vqa_pipeline.answers.scoring import MetricPolicy, most_common_answer, score_answer
from vqa_pipeline.answers.settings import VocabularySettings
from vqa_pipeline.errors import VocabularyMismatch
from vqa_pipeline.schemas import Answer, Frozen


class AnswerVocabulary(Frozen):
    """Normalized answers in the order of their indexes."""

    answers: tuple[str, ...] = Field(description="Distinct, never empty; by count descending, then alphabetically.")
    counts: tuple[int, ...] = Field(
        description="For each answer, the number of training questions whose most common answer it is."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.answers) != len(self.counts):
            raise ValueError(f"{len(self.answers)} answers have {len(self.counts)} counts")
        if len(self._indexes) != len(self.answers):
            raise ValueError("an answer occurs twice, so it would have two indexes")
        if "" in self._indexes:
            raise ValueError("the empty answer cannot be in a vocabulary")
        return self

    @cached_property
    def _indexes(self) -> dict[str, int]:
        return {answer: index for index, answer in enumerate(self.answers)}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of the answers in order, written as a JSON array in ASCII without blanks."""
        return hashlib.sha256(_encode(self.answers)).hexdigest()

    def __len__(self) -> int:
        return len(self.answers)

    def __contains__(self, answer: object) -> bool:
        return answer in self._indexes

    def index_of(self, answer: str) -> int | None:
        """The index of a normalized answer, None if it is not in the vocabulary."""
        return self._indexes.get(answer)

    def id2label(self) -> dict[int, str]:
        """Answers by index, as a model's configuration wants them."""
        return dict(enumerate(self.answers))

    def label2id(self) -> dict[str, int]:
        """Indexes by answer, as a model's configuration wants them."""
        return dict(self._indexes)

    def to_json(self) -> str:
        """The vocabulary as JSON text; equal vocabularies give equal text."""
        told = {"fingerprint": self.fingerprint, "answers": self.answers, "counts": self.counts}
        return json.dumps(told, ensure_ascii=True, indent=0) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The vocabulary that `to_json` wrote.

        Raises:
            VocabularyMismatch: the answers are not those that the fingerprint in the text was made of.
            ValueError: the text is not an answer vocabulary.
        """
        told = json.loads(text)
        if not isinstance(told, dict) or "fingerprint" not in told:
            raise ValueError("this is not an answer vocabulary: it has no fingerprint")
        fingerprint = told.pop("fingerprint")
        vocabulary = cls.model_validate(told)
        check_same(vocabulary, fingerprint)
        return vocabulary


def _encode(answers: Sequence[str]) -> bytes:
    return json.dumps(list(answers), ensure_ascii=True, separators=(",", ":")).encode("ascii")


def check_same(vocabulary: AnswerVocabulary, fingerprint: str) -> None:
    """Refuse a vocabulary that is not the one with this fingerprint.

    Raises:
        VocabularyMismatch: it is another one; both fingerprints are named.
    """
    if vocabulary.fingerprint != fingerprint:
        raise VocabularyMismatch(checkpoint=fingerprint, vocabulary=vocabulary.fingerprint)


def count_answers(references_of_training_questions: Iterable[Sequence[Answer]]) -> Counter[str]:
    """How many questions have which most common answer; questions without one are not counted."""
    found = (most_common_answer(references) for references in references_of_training_questions)
    return Counter(answer for answer in found if answer is not None)


def build_vocabulary(counts: Mapping[str, int], settings: VocabularySettings) -> AnswerVocabulary:
    """The answers counted at least `min_count` times, at most `max_answers` of them, the most frequent first.

    It may come out empty or with a single answer; whether that is enough is for the caller to say.
    """
    frequent = [item for item in counts.items() if item[0] and item[1] >= settings.min_count]
    kept = sorted(frequent, key=lambda item: (-item[1], item[0]))[: settings.max_answers]
    return AnswerVocabulary(answers=tuple(answer for answer, _ in kept), counts=tuple(count for _, count in kept))


class Coverage(Frozen):
    """What a vocabulary can reach on some annotated questions."""

    num_questions: int
    coverage: float = Field(description="Share of questions with a normalized reference in the vocabulary, in [0, 1].")
    ceiling: float = Field(description="Mean of the best score that an answer of the vocabulary can earn, in [0, 1].")


def measure_coverage(
    vocabulary: AnswerVocabulary, questions_references: Iterable[Sequence[Answer]], policy: MetricPolicy
) -> Coverage:
    """Coverage and ceiling of a vocabulary on questions given by their references; unannotated ones are left out.

    The ceiling can be below the mean over covered questions' best soft targets: it is what `score_answer` gives, so
    under `official` ten times "Black." leave it at 0 for a vocabulary that can only say "black". Without annotated
    questions, both are 0.
    """
    num_covered = 0
    best_scores: list[float] = []
    for references in filter(None, questions_references):
        num_covered += _covers(vocabulary, references)
        best_scores.append(_find_best_score(vocabulary, references, policy))
    asked = max(1, len(best_scores))
    ceiling = math.fsum(best_scores) / asked
    return Coverage(num_questions=len(best_scores), coverage=num_covered / asked, ceiling=ceiling)


def _covers(vocabulary: AnswerVocabulary, references: Sequence[Answer]) -> bool:
    return any(normalize(reference["answer"]) in vocabulary for reference in references)


def _find_best_score(vocabulary: AnswerVocabulary, references: Sequence[Answer], policy: MetricPolicy) -> float:
    spellings = {tidy(reference["answer"]) for reference in references}
    candidates = spellings | {normalize(spelling) for spelling in spellings}
    reachable = (candidate for candidate in candidates if candidate in vocabulary)
    return max((score_answer(answer, references, policy) for answer in reachable), default=0.0)


def suggest_min_count(
    counts: Mapping[str, int],
    settings: VocabularySettings,
    questions_references: Iterable[Sequence[Answer]],
    target: float = 0.95,
) -> int | None:
    """The largest `min_count` with which at least `target` of these questions are covered, `max_answers` unchanged.

    None if even a `min_count` of 1 does not reach it.
    """
    everything = build_vocabulary(counts, settings.model_copy(update={"min_count": 1}))
    kept = dict(zip(everything.answers, everything.counts, strict=True))
    best_counts = sorted(
        (
            max(kept.get(normalize(reference["answer"]), 0) for reference in references)
            for references in questions_references
            if references
        ),
        reverse=True,
    )
    for num_covered, count in enumerate(best_counts, start=1):
        if num_covered / len(best_counts) >= target:
            return count or None
    return None
