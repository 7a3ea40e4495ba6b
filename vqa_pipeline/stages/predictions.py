"""`predictions`: the checkpoint's answers to the evaluated splits, by a worker in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from vqa_pipeline.deployment import Champion, Deployment
from vqa_pipeline.errors import DamagedVersion
from vqa_pipeline.evaluation.settings import REPORTED_SPLIT
from vqa_pipeline.modeling.jobs import PredictJob
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.publishing import PAGE, Log, Outcome, Work, run_stage
from vqa_pipeline.schemas import EVALUATED_VARIANT, Split
from vqa_pipeline.stages.dataset import find_image_packs, find_questions, read_questions
from vqa_pipeline.stages.stage import RunWorker, make_stage, open_store
from vqa_pipeline.store import Store, Version

if TYPE_CHECKING:
    import pyarrow as pa


def predict(pipeline: Pipeline, run_worker: RunWorker, log: Log) -> Outcome:
    """`predictions`: the checkpoint's answers to every question of the evaluated splits, and the official result file.

    The champion's are beside them where it is another checkpoint: those that it gave to this dataset before, or new
    ones. Which champion that was is recorded; predictions that have what is needed are not made again because another
    checkpoint came into use.

    Raises:
        ChampionDamaged: the champion's folder lacks something.
        TrainingError: prediction did not end well.
    """
    from vqa_pipeline.curation.digest import digest_table
    from vqa_pipeline.reporting.cards import predictions_markdown

    store = open_store(pipeline)
    dataset, checkpoint = store.require("dataset"), store.require("checkpoint")
    splits = pipeline.settings.evaluation.splits
    inputs = {"dataset": dataset, "checkpoint": checkpoint}
    champion = Deployment(store).find_champion()
    if champion is not None and champion.data_version == checkpoint.manifest.data_version:
        champion = None
    stage = make_stage(pipeline, "predictions", inputs)
    asked_of = champion.data_version if champion else _recall_champion(store, inputs)
    stage = stage._replace(settings=stage.settings | {"champion": asked_of})

    def build(work: Work) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        answers, version = work.folder / "predictions.parquet", checkpoint.manifest.data_version
        job = make_predict_job(checkpoint.path, version, store, dataset, splits, pipeline.settings.training, answers)
        shuffled = (REPORTED_SPLIT,) if pipeline.settings.evaluation.shuffled_image else ()
        run_worker(job.model_copy(update={"shuffled_splits": shuffled}))
        tables = [pq.read_table(answers)]
        if champion is not None:
            tables.append(_answer_as_champion(store, champion, job, run_worker, log))
        order = [("variant", "ascending"), ("checkpoint", "ascending"), ("question_id", "ascending")]
        table = pa.concat_tables(tables).sort_by(order).combine_chunks()
        pq.write_table(table, answers, compression="zstd")
        work.data_version = digest_table(table)
        work.numbers = {"num_predictions": pc.sum(pc.equal(tables[0]["variant"], EVALUATED_VARIANT)).as_py() or 0}
        work.details = {"champion": champion.data_version if champion else None}
        _write_official_results(work, version, dataset, splits)
        work.write(PAGE, predictions_markdown({**work.numbers, "splits": list(splits)}, table.slice(0, 5).to_pylist()))

    return run_stage(store, stage, build, log)


def _recall_champion(store: Store, inputs: Mapping[str, Version]) -> str | None:
    """The champion that the current predictions of these inputs hold, so that they stay up to date without any."""
    with suppress(DamagedVersion):
        current = store.current("predictions")
        if current is not None and all(
            current.manifest.inputs[name].data_version == version.manifest.data_version
            for name, version in inputs.items()
        ):
            recalled: str | None = current.manifest.details.get("champion")
            return recalled
    return None


def _answer_as_champion(store: Store, champion: Champion, job: PredictJob, run_worker: RunWorker, log: Log) -> pa.Table:
    """The champion's answers to the questions of a job, from predictions that have them, else by a worker."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    is_champion = pc.field("checkpoint") == champion.data_version
    is_asked = is_champion & (pc.field("variant") == EVALUATED_VARIANT)
    before = _find_answered(store, champion, job)
    if before is not None:
        log(f"The champion {champion.version} answered these questions before.")
        return pq.read_table(before.path / "predictions.parquet", filters=is_asked)
    log(f"The champion {champion.version} answers the same questions, to be compared with.")
    output = Path(job.output_file).with_name("champion.parquet")
    own = {"checkpoint": str(champion.folder), "checkpoint_version": champion.data_version}
    run_worker(job.model_copy(update={**own, "output_file": str(output)}))
    answered = pq.read_table(output)
    output.unlink()
    return answered


def _find_answered(store: Store, champion: Champion, job: PredictJob) -> Version | None:
    """The newest predictions of the same dataset and splits that hold the champion's answers."""
    dataset, splits = store.require("dataset"), {split for split, _ in job.questions}
    for version in reversed(store.versions("predictions")):
        manifest = version.manifest
        made_by = {manifest.inputs["checkpoint"].data_version, manifest.details.get("champion")}
        is_same = manifest.inputs["dataset"].data_version == dataset.manifest.data_version
        if is_same and champion.data_version in made_by and splits == set(manifest.settings["splits"]):
            return version
    return None


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
