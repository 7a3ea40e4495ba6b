"""`predictions`: the checkpoint's answers to the evaluated splits, by a worker in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

from vqa_pipeline.modeling.jobs import PredictJob
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.publishing import PAGE, Log, Outcome, Work, run_stage
from vqa_pipeline.schemas import Split
from vqa_pipeline.stages.dataset import find_image_packs, find_questions, read_questions
from vqa_pipeline.stages.stage import RunWorker, make_stage, open_store
from vqa_pipeline.store import Store, Version


def predict(pipeline: Pipeline, run_worker: RunWorker, log: Log) -> Outcome:
    """`predictions`: the checkpoint's answers to every question of the evaluated splits, and the official result file.

    Raises:
        TrainingError: prediction did not end well.
    """
    from vqa_pipeline.curation.digest import digest_table
    from vqa_pipeline.reporting.cards import predictions_markdown

    store = open_store(pipeline)
    dataset, checkpoint = store.require("dataset"), store.require("checkpoint")
    splits = pipeline.settings.evaluation.splits

    def build(work: Work) -> None:
        import pyarrow.parquet as pq

        answers = work.folder / "predictions.parquet"
        version, training = checkpoint.manifest.data_version, pipeline.settings.training
        run_worker(make_predict_job(checkpoint.path, version, store, dataset, splits, training, answers))
        table = pq.read_table(answers)
        work.data_version = digest_table(table)
        work.numbers = {"num_predictions": table.num_rows}
        _write_official_results(work, version, dataset, splits)
        work.write(PAGE, predictions_markdown({**work.numbers, "splits": list(splits)}, table.slice(0, 5).to_pylist()))

    inputs = {"dataset": dataset, "checkpoint": checkpoint}
    return run_stage(store, make_stage(pipeline, "predictions", inputs), build, log)


def make_predict_job(
    checkpoint: Path,
    version: str,
    store: Store,
    dataset: Version,
    splits: tuple[Split, ...],
    training: TrainingSettings,
    output: Path,
) -> PredictJob:
    """The job that writes a checkpoint's answers to the questions of some splits into a file.

    Args:
        checkpoint: Its folder.
        version: Its data version, which the file names.
        store: Where the dataset's images are.
        dataset: What to answer.
        splits: Of the dataset.
        training: How much at once, on which device, at which precision, with how many threads.
        output: The file.
    """
    return PredictJob(
        checkpoint=str(checkpoint),
        checkpoint_version=version,
        questions=tuple((split, str(path)) for split in splits for path in find_questions(dataset, split)),
        image_packs=tuple(map(str, find_image_packs(store, dataset))),
        cache_folder=str(store.scratch / "cache"),
        batch_size=training.batch_size,
        device=training.device,
        precision=training.precision,
        threads=training.threads,
        output_file=str(output),
    )


def _write_official_results(work: Work, checkpoint: str, dataset: Version, splits: tuple[Split, ...]) -> None:
    import pandas as pd

    from vqa_pipeline.evaluation.official_results import build_official_results
    from vqa_pipeline.evaluation.tables import select_predictions

    columns = ["question_id", "split", "variant", "checkpoint", "answer"]
    predictions = select_predictions(pd.read_parquet(work.folder / "predictions.parquet", columns=columns), checkpoint)
    for split in splits:
        questions = read_questions(dataset, (split,), ["question_id", "native_id"])
        results = build_official_results(questions, predictions[predictions["split"] == split])
        work.write(f"official_results/{split}.json", json.dumps(results, ensure_ascii=False))
