"""Answers that never look at an image: how far a model gets by guessing is what its accuracy must be read against.

Each baseline learns from the most common answers of the training split alone and answers the evaluated questions. All
guess the answer they have seen most often, ties alphabetical, which is close to the best that guessing can do. With
nothing to learn from they answer with the empty string, which is right for nobody.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import pandas as pd
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier

from vqa_pipeline.evaluation.question_types import read_first_words

NO_ANSWER = ""

_WORD = r"(?u)\b\w+\b"

_MAX_LINEAR_ANSWERS = 100
"""The linear model chooses among the most frequent answers only: its time grows with their number, its accuracy hardly.
Learning from 48,061 VQA v2 questions, 100 answers reach 0.356 in 4 s, 1,000 answers 0.368 in 49 s (one CPU core)."""

_MAX_PASSES = 10
_MAX_UPDATES = 250_000
"""Small training sets are passed over ten times, large ones as often as this many updates allow, but at least once."""

_NUM_FEATURES = 2**15
_REGULARIZATION = 0.5
"""Divided by the number of training questions; chosen on VQA v2 and easy-VQA, where it matters little."""


def predict_majority(train: pd.DataFrame, questions: pd.DataFrame) -> list[str]:
    """The most frequent training answer, to every question.

    Args:
        train: Rows of the training split, with `most_common_answer`.
        questions: Rows to answer.
    """
    return [_find_most_frequent(_keep_learnable(train)["most_common_answer"])] * len(questions)


def predict_by_question_type(train: pd.DataFrame, questions: pd.DataFrame) -> list[str]:
    """The most frequent training answer to questions of the same type; of an unseen type, of all.

    The type is the column `question_type`; where that is missing, the first two words of the question.
    """
    learnable = _keep_learnable(train)
    by_type = defaultdict(list)
    for question_type, answer in zip(_tell_types(learnable), learnable["most_common_answer"], strict=True):
        by_type[question_type].append(answer)
    frequent = {question_type: _find_most_frequent(answers) for question_type, answers in by_type.items()}
    majority = _find_most_frequent(learnable["most_common_answer"])
    return [frequent.get(question_type, majority) for question_type in _tell_types(questions)]


def predict_question_only(train: pd.DataFrame, questions: pd.DataFrame) -> list[str]:
    """What a linear model makes of the question's words: hashed n-grams of one to three, one logistic unit per answer.

    It chooses among the 100 most frequent training answers. The same rows give the same answers in whatever order they
    come.
    """
    learnable = _keep_learnable(train)
    frequent = _rank(learnable["most_common_answer"])[:_MAX_LINEAR_ANSWERS]
    if len(frequent) <= 1:
        return predict_majority(train, questions)
    if questions.empty:
        return []
    rows = learnable[learnable["most_common_answer"].isin(frequent)].sort_values("question_id")
    words = HashingVectorizer(ngram_range=(1, 3), token_pattern=_WORD, n_features=_NUM_FEATURES)
    model = SGDClassifier(
        loss="log_loss",
        alpha=_REGULARIZATION / len(rows),
        max_iter=max(1, min(_MAX_PASSES, _MAX_UPDATES // len(rows))),
        tol=None,
        random_state=0,
    )
    model.fit(words.transform(rows["question"]), rows["most_common_answer"].to_numpy(dtype=object))
    return [str(answer) for answer in model.predict(words.transform(questions["question"]))]


def _keep_learnable(train: pd.DataFrame) -> pd.DataFrame:
    """The annotated rows; one whose references all normalize to nothing teaches nothing."""
    return train[train["most_common_answer"].notna()]


def _rank(answers: Iterable[str]) -> list[str]:
    """Distinct answers, the most frequent first, ties alphabetical."""
    counts = Counter(answers)
    return sorted(counts, key=lambda answer: (-counts[answer], answer))


def _find_most_frequent(answers: Iterable[str]) -> str:
    return next(iter(_rank(answers)), NO_ANSWER)


def _tell_types(questions: pd.DataFrame) -> list[str]:
    told = zip(questions["question_type"], questions["question"], strict=True)
    return [read_first_words(question) if pd.isna(declared) else declared for declared, question in told]
