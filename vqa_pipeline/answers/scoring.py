"""How much credit an answer earns against the answers that people gave: soft scores, soft targets, metric policies.

One home for the metric and for what training aims at, so that the two cannot drift apart. Credits are in [0, 1] and are
never rounded here. Pure functions; whoever calls them brings the references of one question.

Sources: `official` is GT-Vision-Lab/VQA at a013f00, `vqaEval.py`, under Python 3; `normalized` is ours.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vqa_pipeline.answers.normalization import normalize, tidy
from vqa_pipeline.schemas import Answer

MetricPolicy = Literal["official", "normalized", "official_relaxed", "normalized_relaxed"]
"""official: the public evaluator to the last oddity, made for ten references. normalized: for any number of them.
Relaxed: the same, but a number matches references that it is near; for scores, never for what training aims at."""

TOLERANCE = 0.05
"""How far a relaxed number may be from a reference, as a share of it. Source: ChartQA (Masry et al., Findings of ACL
2022), after PlotQA (Methani et al., WACV 2020)."""

_NUMBER = re.compile(r"\d+(\.\d+)?")
"""Normalization takes the sign away, from both sides."""

OFFICIAL_NUM_REFERENCES = 10

_ENOUGH = 3
"""Matches that earn full credit under `official`; at ten references, `normalized` asks for as many."""


def choose_policy(questions_references: Iterable[Iterable[Answer]]) -> MetricPolicy:
    """What `auto` means: official when every annotated question has ten references, all with ids of their own.

    Ten references alone are not enough. The official evaluator takes references without ids, as VizWiz has them, for
    one and the same: the more annotators agree, the less a right answer earns, and nothing when all ten do (see
    `score_answer`). Where references cannot be told apart, `normalized` scores what `official` means: at ten, three
    matches are enough.

    Questions without references say nothing; without any others, the policy is normalized. Goes through the questions
    once and stops at the first that settles it.
    """
    policy: MetricPolicy = "normalized"
    for references in questions_references:
        ids = [reference["answer_id"] for reference in references]
        if ids and not len(ids) == len(set(ids)) == OFFICIAL_NUM_REFERENCES:
            return "normalized"
        if ids:
            policy = "official"
    return policy


def score_answer(answer: str, references: Sequence[Answer], policy: MetricPolicy) -> float:
    """Credit of one answer, in [0, 1], against one question's references (at least one).

    Under `normalized` it is min(1, m / (0.3 n)) for m of n references that match, both sides normalized; an answer that
    normalizes to nothing earns nothing. A single reference is thus met or missed, and at ten, three matches are enough.

    Under `official` it is the mean of min(1, m / 3) over all ways to leave out one reference, with these oddities:

    - Both sides are normalized only if the references are not all the same string: "Black." earns 0 against ten times
      "black" (GT-Vision-Lab/VQA#14 says that this is meant).
    - Every reference that equals the left-out one in answer, `answer_id` and `answer_confidence` is left out with it:
      references without ids cancel each other, and ten times "yes" without ids gives "yes" a credit of 0.

    Relaxed, a reference that is a number at most 5 % from the answer counts as if it were the answer.

    Raises:
        ValueError: there are no references.
    """
    if not references:
        raise ValueError("a question without references cannot be scored")
    if policy in _STRICT:
        return score_answer(answer, _relax(answer, references), _STRICT[policy])
    if policy == "normalized":
        return soft_targets(references, policy).get(normalize(answer), 0.0)
    given, spellings = tidy(answer), {text: tidy(text) for text in {reference["answer"] for reference in references}}
    if len(set(spellings.values())) > 1:
        given, spellings = normalize(answer), {text: normalize(text) for text in spellings}
    matching = [reference for reference in references if spellings[reference["answer"]] == given]
    if not matching:
        return 0.0
    alike = Counter((reference["answer_id"], reference["answer_confidence"]) for reference in matching)
    return _leave_one_out(alike.values(), len(references))


def relax(policy: MetricPolicy) -> MetricPolicy:
    """The same policy with numbers taken loosely."""
    return _LOOSE.get(policy, policy)


_LOOSE: dict[MetricPolicy, MetricPolicy] = {"official": "official_relaxed", "normalized": "normalized_relaxed"}
_STRICT = {loose: strict for strict, loose in _LOOSE.items()}


def _relax(answer: str, references: Sequence[Answer]) -> Sequence[Answer]:
    """The references, those with a number near the answer's in the answer's own words."""
    given = _read_number(answer)
    if given is None:
        return references
    known = [(reference, _read_number(reference["answer"])) for reference in references]
    return [
        Answer(answer=answer, answer_id=reference["answer_id"], answer_confidence=reference["answer_confidence"])
        if number is not None and abs(given - number) <= TOLERANCE * abs(number)
        else reference
        for reference, number in known
    ]


def _read_number(text: str) -> float | None:
    normalized = normalize(text)
    return float(normalized) if _NUMBER.fullmatch(normalized) else None


def _leave_one_out(matches: Iterable[int], num_references: int) -> float:
    """Mean of min(1, m / 3) over all references, each left out together with the ones that equal it.

    `matches` are the matching references, counted by equal ones. Counted in whole thirds, so that nothing is rounded
    before the last division.
    """
    groups = list(matches)
    num_matches = sum(groups)
    thirds = (num_references - num_matches) * min(_ENOUGH, num_matches)
    thirds += sum(group * min(_ENOUGH, num_matches - group) for group in groups)
    return thirds / (_ENOUGH * num_references)


def soft_targets(references: Sequence[Answer], policy: MetricPolicy) -> dict[str, float]:
    """Credit in (0, 1] by normalized answer, most frequent first and ties alphabetical; what training aims at.

    The empty answer is never a target, though its annotators count among all. Under `official`, references are always
    normalized and every annotator counts as one of their own, with or without ids: k of ten: 0.3, 0.6, 0.9, 1. Among
    normalized references with ids, that is what `score_answer` gives; its oddities elsewhere are nothing to learn.
    """
    num_references = len(references)
    targets = {}
    for answer, matches in _count_normalized([reference["answer"] for reference in references]):
        if policy == "official":
            credit = _leave_one_out([1] * matches, num_references)
        else:
            credit = min(1.0, 10 * matches / (_ENOUGH * num_references))
        if credit:
            targets[answer] = credit
    return targets


def most_common_answer(references: Sequence[Answer]) -> str | None:
    """The mode of the references after normalization, ties alphabetical; never empty, None if nothing is left."""
    counted = _count_normalized([reference["answer"] for reference in references])
    return next((answer for answer, _ in counted), None)


def most_common_answers(questions: pa.ListArray) -> list[str | None]:
    """`most_common_answer` of many questions at once, with numpy; None where there are no references.

    Args:
        questions: `schemas.ANSWERS` of each question.
    """
    written = pc.struct_field(questions.flatten(), "answer").dictionary_encode()
    normalized = [normalize(text) for text in written.dictionary.to_pylist()]
    answers = sorted({"", *normalized})  # in the order of ties; the empty one, which counts for nothing, is number 0
    numbers = np.array([bisect_left(answers, text) for text in normalized], dtype=np.int64)[written.indices.to_numpy()]
    lengths = pc.fill_null(pc.list_value_length(questions), 0).to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    pairs, counts = np.unique(rows * len(answers) + numbers, return_counts=True)
    rows, numbers = np.divmod(pairs, len(answers))
    order = np.lexsort((numbers, -counts, rows))
    order = order[numbers[order] > 0]
    rows, first = np.unique(rows[order], return_index=True)
    modes: list[str | None] = [None] * len(lengths)
    for row, number in zip(rows.tolist(), numbers[order][first].tolist(), strict=True):
        modes[row] = answers[number]
    return modes


def _count_normalized(spellings: Sequence[str]) -> list[tuple[str, int]]:
    counts = Counter(map(normalize, spellings))
    del counts[""]
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
