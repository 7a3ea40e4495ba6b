"""Scoring, intervals and the report, at the size of VQA v2's validation split.

    python benchmarks/evaluation.py [--questions 214354] [--report 20000] [--repeats 3]

    scoring     the official metric over questions with ten references: ours, and a plain loop that does for every
                question what the official evaluator does, without remembering anything; both give the same scores
    intervals   1,000 draws of images for the total and for every slice of seven columns
    report      the metrics stage on predictions for so many questions about generated images: baselines, scores,
                intervals, galleries, page; no model is asked, and its time is that of one process

Seconds are CPU seconds of one core, medians of the repeats; the report is made once.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measuring import describe_machine

from vqa_pipeline.answers.normalization import normalize, normalize_punctuation, normalize_words, tidy
from vqa_pipeline.evaluation.accuracy import score_answers
from vqa_pipeline.evaluation.intervals import ImageDraws
from vqa_pipeline.evaluation.slices import SLICE_COLUMNS, list_parts
from vqa_pipeline.pipeline import Pipeline, PipelineSettings
from vqa_pipeline.schemas import Answer

QUESTIONS_PER_IMAGE = 5
NUM_ANSWERS = 3129
_ANNOTATORS = range(1, 11)
_NUM_GROUPS = {"answer_type": 3, "question_type": 40, "answer_frequency": 5, "source": 2, "image_size": 4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=214_354)
    parser.add_argument("--report", type=int, default=20_000, help="questions of the report; 0: none")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"{options.questions:,} questions with ten references; medians of {options.repeats}; {describe_machine()}")
    measure_scoring(options.questions, options.repeats)
    measure_intervals(options.questions, options.repeats)
    if options.report:
        measure_report(options.report)


def measure(run: Callable[[], object], repeats: int) -> float:
    """Median CPU seconds."""
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        run()
        seconds.append(time.process_time() - begin)
    return statistics.median(seconds)


# -------------------------------------------------------------------------------------------------------------- scoring


def measure_scoring(num_questions: int, repeats: int) -> None:
    """Print what the official metric takes, ours and the plain loop's."""
    answers, references = generate_answers(num_questions)
    scores: dict[str, list[float]] = {}

    def score() -> None:
        normalize.cache_clear()  # nothing is remembered from the run before
        scores["ours"] = score_answers(answers, references, "official")

    def score_plainly() -> None:
        scores["plain"] = [score_one(*pair) for pair in zip(answers, references, strict=True)]

    ours, plain = measure(score, repeats), measure(score_plainly, 1)
    if not np.allclose(scores["ours"], scores["plain"], rtol=0, atol=1e-12):
        raise SystemExit("the two do not give the same scores")
    mean = statistics.fmean(scores["ours"])
    print(f"scoring      plain {plain:.1f} s, ours {ours:.2f} s: {plain / ours:.1f} x; accuracy {mean:.6f} of both")


def generate_answers(num_questions: int) -> tuple[list[str], list[list[Answer]]]:
    """Answers and references whose frequencies fall off as those of VQA do; some are spelled another way."""
    generator = random.Random(0)
    known = [
        "yes",
        "no",
        *(f"{word} {number}" for number in range(NUM_ANSWERS // 2) for word in ("a thing", "colour,")),
    ]
    answers, references = [], []
    for _ in range(num_questions):
        favourite = known[int(len(known) * generator.random() ** 4)]
        given = [
            favourite if generator.random() < 0.6 else known[int(len(known) * generator.random() ** 4)]
            for _ in _ANNOTATORS
        ]
        references.append(
            [
                Answer(answer=text, answer_id=number, answer_confidence="yes")
                for number, text in zip(_ANNOTATORS, given, strict=True)
            ]
        )
        answers.append(generator.choice(given).upper())
    return answers, references


def score_one(answer: str, references: Sequence[Answer]) -> float:
    """The official rules as their evaluator goes through them. Source: GT-Vision-Lab/VQA a013f00, `vqaEval.py`."""
    given, spellings = tidy(answer), [tidy(reference["answer"]) for reference in references]
    if len(set(spellings)) > 1:
        given = normalize_words(normalize_punctuation(given))
        spellings = [normalize_words(normalize_punctuation(spelling)) for spelling in spellings]
    known = [{**reference, "answer": text} for reference, text in zip(references, spellings, strict=True)]
    earned = []
    for left_out in known:
        others = [reference for reference in known if reference != left_out]
        matching = [reference for reference in others if reference["answer"] == given]
        earned.append(min(1.0, len(matching) / 3))
    return sum(earned) / len(earned)


# ------------------------------------------------------------------------------------------------------------ intervals


def measure_intervals(num_questions: int, repeats: int) -> None:
    """Print what 1,000 draws of images take, for the total and for every slice."""
    generator = np.random.default_rng(0)
    images = [str(number // QUESTIONS_PER_IMAGE) for number in range(num_questions)]
    scores = generator.choice([0.0, 0.3, 0.6, 1.0], num_questions)
    groups = pd.DataFrame(
        {
            name: generator.integers(0, _NUM_GROUPS.get(name, 2), num_questions).astype(str).astype(object)
            for name in SLICE_COLUMNS
        }
    )
    members = np.stack([np.ones(num_questions, bool), *(rows for *_, rows in list_parts(groups))], axis=1)
    seconds = measure(lambda: ImageDraws(images).find_intervals(scores, members), repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"intervals    {seconds:.1f} s for {members.shape[1]} groups; peak of the process so far {peak:,.0f} MB")


# --------------------------------------------------------------------------------------------------------------- report


def measure_report(num_questions: int) -> None:
    """Print what the metrics stage takes on so many questions."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from fake_worker import FakeWorker

    from vqa_pipeline import stages

    with tempfile.TemporaryDirectory() as folder:
        pipeline = declare(Path(folder), num_questions)
        worker, said = FakeWorker(), list[str]()
        stages.observe_source(pipeline, "shapes", said.append)
        stages.build_records(pipeline, "shapes", said.append)
        stages.build_dataset(pipeline, said.append)
        stages.build_vocabulary(pipeline, said.append)
        stages.train_checkpoint(pipeline, pipeline.settings.training, worker, said.append)
        stages.predict(pipeline, worker, said.append)
        made: list[Any] = []
        seconds = measure(lambda: made.append(stages.evaluate(pipeline, said.append)), 1)
        version = made[0].version
        size = version.manifest.files["report.html"] / 1e6
        print(f"report       {seconds:.1f} s for {version.manifest.numbers['num_scored']:,} questions, {size:.1f} MB")


def declare(folder: Path, num_questions: int) -> Pipeline:
    """A pipeline of generated images; of four questions about each, a fifth are for the test."""
    shapes = {"name": "shapes", "format": "shapes", "images": max(16, num_questions * 13 // 10)}
    settings = {
        "sources": [shapes],
        "dataset": {"leakage": "report", "max_reject_fraction": 0.2},
        "training": {"backbone": "tiny"},
    }
    return Pipeline("benchmark", PipelineSettings.model_validate(settings), folder)


if __name__ == "__main__":
    main()
