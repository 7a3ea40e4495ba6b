"""`metrics`: how right the predictions are beside blind baselines, and the report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from vqa_pipeline.errors import StaleInput
from vqa_pipeline.evaluation.settings import REPORTED_SPLIT
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.publishing import PAGE, Log, Outcome, Work, compute_fingerprint, run_stage
from vqa_pipeline.stages.dataset import read_questions
from vqa_pipeline.stages.report import MadeFrom, Scored, write_report
from vqa_pipeline.stages.stage import check_made_from, make_stage, open_store
from vqa_pipeline.store import Store, Version

if TYPE_CHECKING:
    import pandas as pd

_READ_BY_BASELINES = ["question_id", "question", "question_type", "most_common_answer"]


def evaluate(pipeline: Pipeline, log: Log) -> Outcome:
    """`metrics`: accuracy on the test split beside blind baselines, and the report.

    A test split without annotations is predicted, not scored: then the metrics say so, and hold no score.

    Raises:
        StaleInput: the predictions answer another dataset.
    """
    store = open_store(pipeline)
    dataset, predictions = store.require("dataset"), store.require("predictions")
    check_made_from(predictions, dataset, "metrics")

    def build(work: Work) -> None:
        import pandas as pd

        from vqa_pipeline.answers.vocabulary import AnswerVocabulary
        from vqa_pipeline.evaluation.metrics import compute_metrics

        checkpoint = _find_checkpoint(store, predictions)
        vocabulary = AnswerVocabulary.from_json((checkpoint.path / "vocabulary.json").read_text(encoding="utf-8"))
        evaluated = _add_image_sizes(dataset, read_questions(dataset, (REPORTED_SPLIT,)))
        if not dataset.manifest.details["num_annotated_by_split"][REPORTED_SPLIT]:
            _write_that_nothing_is_scored(work, len(evaluated))
            return
        answered = pd.read_parquet(predictions.path / "predictions.parquet")
        train = read_questions(dataset, ("train",), _READ_BY_BASELINES)
        metrics, scored = compute_metrics(train, evaluated, answered, vocabulary, pipeline.settings.evaluation.metric)
        told = metrics.model_dump(mode="json")
        work.write("metrics.json", json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False))
        work.data_version = compute_fingerprint(told)
        work.numbers = {name: value for name, value in told.items() if isinstance(value, int | float)}
        work.numbers |= {f"interval_{end}": value for end, value in told["interval"].items()}
        blind = {
            name: told[name] for name in told if name.startswith("baseline_") and told[name] >= told["vqa_accuracy"]
        }
        problems = [
            f"{name} {score:.3f} is not below the model's {told['vqa_accuracy']:.3f}" for name, score in blind.items()
        ]
        work.check("beats_baselines", problems, vqa_accuracy=told["vqa_accuracy"])
        made_from = MadeFrom(dataset, checkpoint, predictions)
        write_report(pipeline, work, made_from, told, Scored(evaluated, scored, answered))

    inputs = {"dataset": dataset, "predictions": predictions}
    return run_stage(store, make_stage(pipeline, "metrics", inputs), build, log)


def _add_image_sizes(dataset: Version, questions: pd.DataFrame) -> pd.DataFrame:
    """With `width` and `height` of their images in pixels, missing where there is none."""
    import pandas as pd

    sizes = pd.read_parquet(dataset.path / "images.parquet", columns=["image_sha256", "width", "height"])
    return questions.merge(sizes, on="image_sha256", how="left", validate="many_to_one")


def _write_that_nothing_is_scored(work: Work, num_questions: int) -> None:
    told = {"num_questions": num_questions, "num_scored": 0}
    work.numbers = dict(told)
    work.data_version = compute_fingerprint(told)
    work.write("metrics.json", json.dumps(told))
    work.check("beats_baselines", ["nothing was scored: the test split has no answers"])
    work.write(PAGE, "The test split has no answers to score against. Its predictions are in the asset `predictions`.")


def _find_checkpoint(store: Store, predictions: Version) -> Version:
    """The checkpoint that made the predictions, which need not be the current one any more."""
    made_by = predictions.manifest.inputs["checkpoint"].data_version
    checkpoint = store.find("checkpoint", made_by)
    if checkpoint is None:
        raise StaleInput("metrics", "predictions", "checkpoint")
    return checkpoint
