"""`metrics`: how right the predictions are beside blind baselines, and the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vqa_pipeline.errors import StaleInput
from vqa_pipeline.evaluation.settings import REPORTED_SPLIT
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.publishing import PAGE, Log, Outcome, Work, compute_fingerprint, run_stage
from vqa_pipeline.schemas import SCORES, SLICES
from vqa_pipeline.stages.dataset import read_questions
from vqa_pipeline.stages.report import MadeFrom, Scored, write_report
from vqa_pipeline.stages.stage import check_made_from, make_stage, open_store
from vqa_pipeline.store import Store, Version

if TYPE_CHECKING:
    import pandas as pd

    from vqa_pipeline.evaluation.metrics import Measured

_LARGEST_ERROR, _FEWEST_ANSWERS = 0.1, 300
"""Expected calibration error that is no cause for a warning, of so many answers or more. By chance, 300 answers whose
probabilities are true have an error of 0.07 on average and above 0.09 in 5 % of cases; 100 have 0.12 (simulated)."""
_READ_BY_BASELINES = ["question_id", "question", "question_type", "most_common_answer"]


def evaluate(pipeline: Pipeline, log: Log) -> Outcome:
    """`metrics`: accuracy on the test split beside blind baselines, and the report.

    A test split without annotations is predicted, not scored: then the metrics say so, and hold no score.

    Raises:
        StaleInput: the predictions answer another dataset.
        PredictionsMismatch: they do not fit its questions, or their checkpoint's vocabulary.
    """
    store = open_store(pipeline)
    dataset, predictions = store.require("dataset"), store.require("predictions")
    check_made_from(predictions, dataset, "metrics")

    def build(work: Work) -> None:
        import pandas as pd

        from vqa_pipeline.answers.vocabulary import AnswerVocabulary
        from vqa_pipeline.evaluation.fitting import check_predictions
        from vqa_pipeline.evaluation.metrics import compute_metrics, judge_challenger
        from vqa_pipeline.evaluation.scores import select_scores
        from vqa_pipeline.evaluation.tables import select_predictions

        checkpoint = _find_checkpoint(store, predictions)
        vocabulary = AnswerVocabulary.from_json((checkpoint.path / "vocabulary.json").read_text(encoding="utf-8"))
        evaluated = _add_image_sizes(dataset, read_questions(dataset, (REPORTED_SPLIT,)))
        if not dataset.manifest.details["num_annotated_by_split"][REPORTED_SPLIT]:
            _write_that_nothing_is_scored(work, len(evaluated))
            return
        answered = pd.read_parquet(predictions.path / "predictions.parquet")
        train = read_questions(dataset, ("train",), _READ_BY_BASELINES)
        version, settings = checkpoint.manifest.data_version, pipeline.settings.evaluation
        check_predictions(evaluated, answered[answered["split"] == REPORTED_SPLIT], version, vocabulary)
        measured = judge_challenger(
            compute_metrics(train, evaluated, answered, version, vocabulary, settings, _read_threshold(checkpoint)),
            version,
            predictions.manifest.details["champion"],
            pipeline.settings.champion,
            overridden=bool(checkpoint.manifest.details["overridden"]),
        )
        told = measured.metrics.model_dump(mode="json")
        _write_tables(work, measured)
        work.write("metrics.json", json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False))
        work.data_version = compute_fingerprint(told)
        work.numbers = {name: value for name, value in told.items() if isinstance(value, int | float)}
        work.numbers |= {f"interval_{end}": value for end, value in told["interval"].items()}
        work.numbers |= {"paraphrase_agreement": told["consistency"]["agreement"]} if told["consistency"] else {}
        _check_that_it_looks(work, told)
        _check_that_it_knows(work, told["calibration"])
        scored = select_scores(measured.scores, checkpoint=version)
        made_from = MadeFrom(dataset, checkpoint, predictions)
        write_report(pipeline, work, made_from, told, Scored(evaluated, scored, select_predictions(answered, version)))

    inputs = {"dataset": dataset, "predictions": predictions}
    return run_stage(store, make_stage(pipeline, "metrics", inputs), build, log)


def _add_image_sizes(dataset: Version, questions: pd.DataFrame) -> pd.DataFrame:
    """With `width` and `height` of their images in pixels, missing where there is none."""
    import pandas as pd

    sizes = pd.read_parquet(dataset.path / "images.parquet", columns=["image_sha256", "width", "height"])
    return questions.merge(sizes, on="image_sha256", how="left", validate="many_to_one")


def _write_tables(work: Work, measured: Measured) -> None:
    """Scores and slices question by question, for everything that compares and explains."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name, rows, schema in (("scores", measured.scores, SCORES), ("slices", measured.groups, SLICES)):
        table = pa.Table.from_pandas(rows, schema=schema, preserve_index=False)
        pq.write_table(table.replace_schema_metadata(), work.folder / f"{name}.parquet", compression="zstd")


def _check_that_it_looks(work: Work, told: Mapping[str, Any]) -> None:
    """Warn of a model that is not shown to be better than what does not see the image."""
    low, high = told["image_reliance_interval"]["low"], told["image_reliance_interval"]["high"]
    problem = (
        f"accuracy {told['vqa_accuracy']:.3f} is {told['image_reliance']:+.3f} ({low:+.3f} to {high:+.3f}) above "
        f"{told['best_blind']}, which does not see the image: nothing shows that the model looks at it. Train longer "
        "or more of the model, or get questions that cannot be guessed"
    )
    work.check(
        "looks_at_images",
        [problem] if low <= 0 else [],
        image_reliance=told["image_reliance"],
        image_reliance_low=low,
        image_reliance_high=high,
    )


def _read_threshold(checkpoint: Version) -> float:
    from vqa_pipeline.evaluation.calibration import Calibration

    return Calibration.model_validate_json((checkpoint.path / "calibration.json").read_bytes()).abstain_threshold


def _check_that_it_knows(work: Work, told: Mapping[str, Any] | None) -> None:
    """Warn of probabilities that cannot be taken for what they say."""
    if told is None:
        work.check("calibrated", [], num_scored=0)
        return
    work.numbers |= {"ece": told["ece"], "ece_before": told["ece_before"]}
    work.numbers |= {f"coverage_at_risk_{risk}": share for risk, share in told["coverage_at_risk"].items()}
    problem = (
        f"probabilities are {told['ece']:.3f} off on average: the test questions are unlike the validation questions "
        "that they were fitted on. Do not rely on them, nor on abstaining; bring validation questions that are alike"
    )
    is_off = told["ece"] > _LARGEST_ERROR and told["num_questions"] >= _FEWEST_ANSWERS
    work.check("calibrated", [problem] if is_off else [], ece=told["ece"])


def _write_that_nothing_is_scored(work: Work, num_questions: int) -> None:
    told = {"num_questions": num_questions, "num_scored": 0}
    work.numbers = dict(told)
    work.data_version = compute_fingerprint(told)
    work.write("metrics.json", json.dumps(told))
    work.check("calibrated", [], num_scored=0)
    nothing = "nothing was scored: the test split has no answers. Bring them, or declare others as test"
    work.check("looks_at_images", [nothing], num_scored=0)
    work.write(PAGE, "The test split has no answers to score against. Its predictions are in the asset `predictions`.")


def _find_checkpoint(store: Store, predictions: Version) -> Version:
    """The checkpoint that made the predictions, which need not be the current one any more."""
    made_by = predictions.manifest.inputs["checkpoint"].data_version
    checkpoint = store.find("checkpoint", made_by)
    if checkpoint is None:
        raise StaleInput("metrics", "predictions", "checkpoint")
    return checkpoint
