"""Whether a model answers alike when the same is asked in other words, where the data says which questions do that.

Source of the consensus score: Shah, Chen, Rohrbach and Parikh, Cycle-Consistency for Robust Visual Question Answering
(CVPR 2019), section 4: the share of the k-subsets of a group whose questions are all answered right, right meaning
that an answer earns anything at all; averaged over groups.
"""

from __future__ import annotations

from math import comb

import numpy as np
import pandas as pd
from pydantic import Field

from vqa_pipeline.answers.normalization import normalize
from vqa_pipeline.evaluation.accuracy import Share, compute_mean
from vqa_pipeline.evaluation.intervals import ImageDraws, Interval
from vqa_pipeline.evaluation.tables import tell_images
from vqa_pipeline.schemas import Frozen

MOST_SUBSETS_OF = 4
"""The paper's largest k: its groups have a question and three rephrasings."""
MOST_DISAGREEMENTS = 10


class Disagreement(Frozen):
    """Questions that ask the same and were answered differently."""

    question_ids: tuple[str, ...]
    questions: tuple[str, ...] = Field(description="In the order of the ids.")
    answers: tuple[str | None, ...] = Field(description="The model's to each, normalized; null: it gave none.")


class Consistency(Frozen):
    """How alike the answers to paraphrases are, and how often all of them are right."""

    num_groups: int = Field(description="Groups of at least two scored questions about one image that ask the same.")
    num_questions: int = Field(description="Questions in them.")
    agreement: Share = Field(description="Share of groups whose questions all got the same answer, normalized.")
    agreement_interval: Interval = Field(description="95 % interval of `agreement`, by drawing images.")
    consensus: dict[int, Share] = Field(
        description="By k: the share of a group's k-subsets that are answered right as a whole, over all groups of at "
        "least k questions; k = 1 is how many answers earn anything."
    )
    disagreements: tuple[Disagreement, ...] = Field(description="The first few groups, in the order of their ids.")


def measure_consistency(questions: pd.DataFrame, scored: pd.DataFrame) -> Consistency | None:
    """How consistent a model is; None where the data names no two scored questions that ask the same.

    Args:
        questions: The scored questions, columns of `schemas.QUESTIONS`.
        scored: The model's rows of `schemas.SCORES`, of the same questions in the same order.
    """
    rows = _group(questions, scored)
    groups = rows.groupby("group", sort=True)
    if not groups.ngroups:
        return None
    sizes, right = groups.size().to_numpy(), groups["is_right"].sum().to_numpy()
    alike = groups["answer"].agg(lambda answers: bool(answers.notna().all()) and len(set(answers)) == 1)
    draws = ImageDraws(groups["image"].first().tolist())
    values = np.array(alike, np.float64)
    return Consistency(
        num_groups=groups.ngroups,
        num_questions=len(rows),
        agreement=compute_mean(values.tolist()),
        agreement_interval=draws.find_intervals(values, np.ones((len(values), 1), bool))[0],
        consensus={
            k: compute_mean([comb(r, k) / comb(n, k) for n, r in zip(sizes, right, strict=True) if n >= k])
            for k in range(1, min(MOST_SUBSETS_OF, int(sizes.max())) + 1)
        },
        disagreements=tuple(_describe(groups.get_group(name)) for name in alike.index[~alike][:MOST_DISAGREEMENTS]),
    )


def _group(questions: pd.DataFrame, scored: pd.DataFrame) -> pd.DataFrame:
    """The questions that ask the same as another one about the same image, with the name of their group.

    A paraphrase names the question that it rephrases, which need not name itself: its own id is its group's name, too.
    """
    named = zip(questions["source"], questions["paraphrase_of"], questions["question_id"], strict=True)
    rows = pd.DataFrame(
        {
            "question_id": questions["question_id"].to_numpy(),
            "question": questions["question"].to_numpy(),
            "image": tell_images(questions),
            "meant": [own if pd.isna(of) else f"{source}/{of}" for source, of, own in named],
            "answer": [None if pd.isna(answer) else normalize(answer) for answer in scored["answer"]],
            "is_right": (scored["score"] > 0).to_numpy(),
        }
    ).sort_values("question_id")
    asked_again = rows.duplicated(["meant", "image"], keep=False)
    rows = rows[asked_again].assign(group=lambda kept: kept["meant"] + "\n" + kept["image"])
    return rows.reset_index(drop=True)


def _describe(rows: pd.DataFrame) -> Disagreement:
    return Disagreement(
        question_ids=tuple(rows["question_id"]),
        questions=tuple(rows["question"]),
        answers=tuple(None if pd.isna(answer) else answer for answer in rows["answer"]),
    )
