"""`vocabulary`: the answers that a model can give, from the training questions alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.publishing import PAGE, Log, Outcome, Work, run_stage
from vqa_pipeline.schemas import SPLITS, Answer
from vqa_pipeline.stages.dataset import find_questions
from vqa_pipeline.stages.stage import make_stage, open_store
from vqa_pipeline.store import Version

COVERAGE_GOAL = 0.95
_FEWEST_ANSWERS = 2  # one class cannot be learned


def build_vocabulary(pipeline: Pipeline, log: Log) -> Outcome:
    """`vocabulary`: the distinct most common answers of the training questions, ordered, with what they cover.

    Raises:
        SettingsError: no training question has an answer, or fewer than two answers are left.
    """
    from vqa_pipeline.answers.scoring import choose_policy
    from vqa_pipeline.answers.vocabulary import build_vocabulary as build_from_counts
    from vqa_pipeline.answers.vocabulary import count_answers, measure_coverage, suggest_min_count
    from vqa_pipeline.reporting.cards import vocabulary_markdown

    store = open_store(pipeline)
    dataset = store.require("dataset")
    settings = pipeline.settings.vocabulary

    def build(work: Work) -> None:
        num_annotated = dataset.manifest.details["num_annotated_by_split"]
        references = {split: _References(find_questions(dataset, split)) for split in SPLITS if num_annotated[split]}
        train = references.get("train", _References([]))
        counts = count_answers(train)
        vocabulary = build_from_counts(counts, settings)
        if len(vocabulary.answers) < _FEWEST_ANSWERS:
            raise _explain_vocabulary(dataset, sorted(filter(None, counts)), len(vocabulary.answers))
        policy = choose_policy(train)
        coverages = {split: measure_coverage(vocabulary, known, policy) for split, known in references.items()}
        work.data_version = vocabulary.fingerprint[:16]
        work.write("vocabulary.json", vocabulary.to_json())
        work.numbers = {"num_answers": len(vocabulary.answers), "num_answers_seen": len(counts)}
        for split, measured in coverages.items():
            work.numbers |= {f"coverage_{split}": measured.coverage, f"ceiling_{split}": measured.ceiling}
        measured = coverages["train"]
        problems = _explain_coverage(measured.coverage, suggest_min_count(counts, settings, train))
        work.check("coverage", problems, coverage=measured.coverage, ceiling=measured.ceiling)
        work.details = {"fingerprint": vocabulary.fingerprint, "metric": policy}
        work.write(PAGE, vocabulary_markdown(work.numbers, vocabulary.answers, vocabulary.counts))

    return run_stage(store, make_stage(pipeline, "vocabulary", {"dataset": dataset}), build, log)


def _explain_vocabulary(dataset: Version, answers: Sequence[str], num_kept: int) -> SettingsError:
    """Why there is nothing to learn: of the training questions' `answers` the settings keep `num_kept`."""
    details = dataset.manifest.details
    asked, annotated = details["num_questions_by_split"]["train"], details["num_annotated_by_split"]["train"]
    if not asked:
        fix = "Declare the split in the sources, or give it a share here."
        return SettingsError("dataset.split_fractions", "the dataset has no training question", fix)
    if not annotated:
        fix = "Bring the answers, and name their file or column in the source."
        return SettingsError("sources", f"none of the {asked} training questions has an answer", fix)
    if len(answers) < _FEWEST_ANSWERS:
        given = f"no answer but {answers[0]!r:.80}" if answers else "no answer that normalization leaves anything of"
        fix = "Bring training questions with other answers: there is nothing to tell apart."
        return SettingsError("sources", f"the {annotated} answered training questions have {given}", fix)
    reason = f"leaves {num_kept} answers of the {len(answers)} in {annotated} answered training questions"
    return SettingsError("vocabulary.min_count", reason, "Lower it, or bring more training questions.")


def _explain_coverage(coverage: float, min_count: int | None) -> list[str]:
    if coverage >= COVERAGE_GOAL:
        return []
    if min_count is None:
        advice = "no `vocabulary.min_count` reaches 95 %; raise `vocabulary.max_answers`"
    else:
        advice = f"`vocabulary: {{min_count: {min_count}}}` would reach 95 %"
    return [f"the vocabulary covers {coverage:.1%} of the training questions; {advice}"]


class _References:
    """References of the annotated questions in some files; read anew, batch by batch, each time they are gone through.

    Ten annotators' answers to every question at once would be the largest thing in memory.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def __iter__(self) -> Iterator[list[Answer]]:
        import pyarrow.parquet as pq

        for path in self._files:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(columns=["answers"]):
                    yield from filter(None, batch.column("answers").to_pylist())
