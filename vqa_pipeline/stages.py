"""One function per asset: read the inputs' current versions, call the room that knows, publish. No Dagster, no torch.

The rooms are imported inside the stages, so that loading this module (Dagster's definitions do) stays light. How a
version is reused, gated and published is told in `publishing`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqa_pipeline.errors import DamagedVersion, SettingsError, SourceChanged, StaleInput
from vqa_pipeline.evaluation.settings import REPORTED_SPLIT
from vqa_pipeline.files import write_atomically
from vqa_pipeline.modeling.backbone_files import digest_backbone
from vqa_pipeline.modeling.jobs import PredictJob, TrainJob
from vqa_pipeline.modeling.settings import TINY, TrainingSettings
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.publishing import (
    PAGE,
    CheckDeclaration,
    Log,
    Outcome,
    Stage,
    Work,
    compute_fingerprint,
    run_stage,
)
from vqa_pipeline.schemas import SPLITS, Answer, Frozen, Split
from vqa_pipeline.store import Store, Version

if TYPE_CHECKING:
    import pandas as pd

    from vqa_pipeline.curation.plan import DatasetSummary, SourceRecords
    from vqa_pipeline.sources.formats import Source
    from vqa_pipeline.sources.observation import FileState

RunWorker = Callable[[TrainJob | PredictJob], None]
"""Runs a job in a process of its own and returns when it is done; raises `TrainingError` when it did not end well."""

STAGE_NUMBERS: dict[str, int] = {
    "raw": 1,
    "records": 1,
    "dataset": 1,
    "vocabulary": 1,
    "checkpoint": 1,
    "predictions": 1,
    "metrics": 1,
}
"""Raised by hand when a stage's results change for the same inputs and settings; golden tests tell when."""

CHECKS: dict[str, tuple[CheckDeclaration, ...]] = {
    "dataset": (
        CheckDeclaration("ledger_balances", True, "Every raw row has exactly one fate."),
        CheckDeclaration("has_questions", True, "Every source has rows, and a question is accepted."),
        CheckDeclaration("reject_fraction", True, "At most `dataset.max_reject_fraction` of the rows are rejected."),
        CheckDeclaration("no_leakage", True, "No image is in two splits, unless `dataset.leakage` allows it."),
        CheckDeclaration("no_rejects", False, "No row was rejected."),
    ),
    "vocabulary": (CheckDeclaration("coverage", False, "The vocabulary covers 95 % of the training questions."),),
    "metrics": (CheckDeclaration("beats_baselines", False, "The model is better than every blind baseline."),),
}
"""Checks by asset. Blocking checks gate publishing; the others warn."""

_READ_BY_BASELINES = ["question_id", "question", "question_type", "most_common_answer"]
COVERAGE_GOAL = 0.95
_FEWEST_ANSWERS = 2  # one class cannot be learned
_NAMED_LEAKS = 3
_NOT_IN_FINGERPRINT = {"checkpoint_every_steps", "device", "threads"}
"""Training settings that change how fast a checkpoint comes about, not which."""


def open_store(pipeline: Pipeline) -> Store:
    """The store of a pipeline's versions."""
    return Store(pipeline.store_folder, pipeline.scratch_folder)


def stage_settings(pipeline: Pipeline, asset: str, training: TrainingSettings | None = None) -> dict[str, Any]:
    """The settings that a stage's results depend on; `asset` is a key such as `records/shapes` or `dataset`.

    Absolute paths are made relative to the project: no absolute path is stored.
    """
    settings = pipeline.settings
    stage, _, source = asset.partition("/")
    if source:
        return _dump(pipeline.source(source), pipeline.project_root)
    if stage == "checkpoint":
        return _dump(training or settings.training, pipeline.project_root, exclude=_NOT_IN_FINGERPRINT)
    own: dict[str, dict[str, Any]] = {
        "dataset": settings.dataset.model_dump(mode="json"),
        "vocabulary": settings.vocabulary.model_dump(mode="json"),
        "predictions": {"splits": list(settings.evaluation.splits)},
        "metrics": settings.evaluation.model_dump(mode="json"),
    }
    return own[stage]


def _dump(settings: Frozen, root: Path, exclude: set[str] | None = None) -> dict[str, Any]:
    chosen = settings.model_dump(mode="json", exclude=exclude)
    return {key: _without_absolute_paths(value, root) for key, value in chosen.items()}


def _without_absolute_paths(value: Any, root: Path) -> Any:
    if isinstance(value, dict):
        return {key: _without_absolute_paths(item, root) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_absolute_paths(item, root) for item in value]
    return os.path.relpath(value, root) if isinstance(value, str) and value.startswith("/") else value


def _make_stage(pipeline: Pipeline, asset: str, inputs: Mapping[str, Version]) -> Stage:
    name = asset.partition("/")[0]
    return Stage(asset, STAGE_NUMBERS[name], stage_settings(pipeline, asset), inputs, CHECKS.get(name, ()))


# ---------------------------------------------------------------------------------------------------------------- raw


def observe_source(pipeline: Pipeline, source: str, log: Log) -> Outcome:
    """`raw/<source>`: the source's files and their digests; a generated source generates its files.

    Raises:
        SourceError: a file or folder that the settings name does not exist.
    """
    from vqa_pipeline.reporting.cards import raw_markdown
    from vqa_pipeline.sources.formats.shapes import ShapesSource, generate
    from vqa_pipeline.sources.observation import digest_states, observe_files

    settings = pipeline.source(source)
    stage = _make_stage(pipeline, f"raw/{source}", {})

    def describe(work: Work, states: Mapping[str, FileState]) -> None:
        work.data_version = digest_states(states)
        work.numbers = {"num_files": len(states), "num_bytes": sum(state.size for state in states.values())}
        work.write(PAGE, raw_markdown({"source": source, "format": settings.format, **work.numbers}))

    def generate_files(work: Work) -> None:
        assert isinstance(settings, ShapesSource)  # noqa: S101 - chosen below
        generate(settings, work.folder)
        files = sorted(path for path in work.folder.rglob("*") if path.is_file())
        describe(work, observe_files(files, work.folder, {}))

    if isinstance(settings, ShapesSource):
        return run_stage(open_store(pipeline), stage, generate_files, log)
    states = _observe_source_files(pipeline, settings)

    def list_files(work: Work) -> None:
        listed = {name: {"size": state.size, "sha256": state.sha256} for name, state in states.items()}
        work.write("files.json", json.dumps(listed, indent=1, sort_keys=True, ensure_ascii=False))
        describe(work, states)

    observed = stage._replace(settings={**stage.settings, "content": digest_states(states)})
    return run_stage(open_store(pipeline), observed, list_files, log)


def _observe_source_files(pipeline: Pipeline, settings: Source) -> dict[str, FileState]:
    """State of every file of a source; bytes are read only where size or time moved since the last look."""
    from vqa_pipeline.sources.observation import FileState, observe_source_files

    remembered = pipeline.scratch_folder / "observed" / f"{settings.name}.json"
    known = {}
    if remembered.is_file():
        known = {name: FileState(*state) for name, state in json.loads(remembered.read_bytes()).items()}
    states = observe_source_files(settings, pipeline.project_root, known)
    if states != known:
        write_atomically(remembered, json.dumps(states).encode())
    return states


@contextmanager
def _unchanged(pipeline: Pipeline, settings: Source, raw: Version) -> Iterator[None]:
    """Fail unless a source's files are those of `raw` and stay so while they are read.

    What was read would belong to no one state, or to another than the one that the manifest names.
    """
    from vqa_pipeline.sources.formats.shapes import ShapesSource

    if isinstance(settings, ShapesSource):
        yield
        return
    before = _observe_source_files(pipeline, settings)
    _refuse_changes(settings, _list_raw_files(raw), {name: state.sha256 for name, state in before.items()})
    yield
    _refuse_changes(settings, before, _observe_source_files(pipeline, settings))


def _refuse_changes(settings: Source, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed:
        raise SourceChanged(settings.name, changed[0])


def _list_raw_files(raw: Version) -> dict[str, str]:
    """The sha256 of every file of an observed source, by its path relative to the source's base."""
    listed = json.loads((raw.path / "files.json").read_bytes())
    return {name: state["sha256"] for name, state in listed.items()}


def _source_root(pipeline: Pipeline, settings: Source, raw: Version) -> Path:
    """Where a source's relative paths start: its published files if they are generated, else the project."""
    from vqa_pipeline.sources.formats.shapes import ShapesSource

    return raw.path if isinstance(settings, ShapesSource) else pipeline.project_root


# ------------------------------------------------------------------------------------------------------------ records


def build_records(pipeline: Pipeline, source: str, log: Log) -> Outcome:
    """`records/<source>`: the source's rows, read and validated, each with its locator; rejects beside them.

    Raises:
        SourceError: a file is missing, unreadable or not of its format.
        SourceChanged: a file changed while it was read, or since `raw` was observed.
    """
    from vqa_pipeline.curation.validation import validate_source
    from vqa_pipeline.reporting.cards import records_markdown

    raw = _observe_again(pipeline, source, log)
    settings = pipeline.source(source)

    def build(work: Work) -> None:
        with _unchanged(pipeline, settings, raw):
            summary = validate_source(settings, _source_root(pipeline, settings, raw), work.folder)
        work.data_version = summary.data_version
        work.details = summary.model_dump(mode="json", exclude={"data_version"})
        work.numbers = {name: value for name, value in work.details.items() if name.startswith("num_")}
        work.write(PAGE, records_markdown({"source": source, **work.details}))

    stage = _make_stage(pipeline, f"records/{source}", {f"raw/{source}": raw})
    return run_stage(open_store(pipeline), stage, build, log)


def _observe_again(pipeline: Pipeline, source: str, log: Log) -> Version:
    """The source as it is now; a look costs a `stat` per file, and no version of another state is ever read."""
    return observe_source(pipeline, source, log).version


# ------------------------------------------------------------------------------------------------------------ dataset


def build_dataset(pipeline: Pipeline, log: Log) -> Outcome:
    """`dataset`: records of all sources joined with their images, deduplicated, split, leak-free, with the ledger.

    Raises:
        GateFailed: no questions, too many rejects, leakage, or a ledger that does not balance.
        StaleInput: a source changed since its records were read.
        SourceError: an image cannot be read, which says nothing about the image.
        SourceChanged: a file changed while the dataset was built; what is there now and then is no verdict.
    """
    from vqa_pipeline.curation.plan import build_dataset as build_plan

    store = open_store(pipeline)
    inputs: dict[str, Version] = {}
    for source in pipeline.settings.sources:
        raw = _observe_again(pipeline, source.name, log)
        records = store.require(f"records/{source.name}")
        _check_made_from(records, raw, "dataset")
        inputs |= {raw.asset: raw, records.asset: records}

    def build(work: Work) -> None:
        current = store.current("dataset")
        kept = [name for name in _pack_names(current) if (store.root / "dataset" / name).is_file()]
        sources = [_describe_records(pipeline, source, inputs) for source in pipeline.settings.sources]
        scratch = pipeline.scratch_folder / "plan"
        with ExitStack() as guards:
            for source in pipeline.settings.sources:
                guards.enter_context(_unchanged(pipeline, source, inputs[f"raw/{source.name}"]))
            known = [store.root / "dataset" / name for name in kept]
            summary = build_plan(sources, pipeline.settings.dataset, known, scratch, work.folder)
            _check_not_lost(pipeline, summary, inputs)
        packs = [store.share("dataset", pack) for pack in summary.new_packs]
        for pack in summary.new_packs:
            pack.unlink()
        work.data_version = summary.data_version
        work.details = summary.describe() | {"image_packs": sorted({*kept, *packs})}
        work.numbers = summary.count()
        _check_dataset(pipeline, work, summary)
        _write_dataset_pages(pipeline, work)

    return run_stage(store, _make_stage(pipeline, "dataset", inputs), build, log)


def _check_not_lost(pipeline: Pipeline, summary: DatasetSummary, inputs: Mapping[str, Version]) -> None:
    """Refuse verdicts on images that `raw` has and that were not there for the moment in which they were checked."""
    from vqa_pipeline.sources.formats import get_format
    from vqa_pipeline.sources.formats.shapes import ShapesSource
    from vqa_pipeline.sources.observation import source_base

    for name, references in summary.images_not_found.items():
        source = pipeline.source(name)
        if isinstance(source, ShapesSource):
            continue  # its files are published: nobody moves them
        images = get_format(source).find_image_root(source, pipeline.project_root)
        if images is None:
            continue
        listed, base = _list_raw_files(inputs[f"raw/{name}"]), source_base(source, pipeline.project_root)
        for reference in references:
            if (images / reference).relative_to(base).as_posix() in listed:
                raise SourceChanged(name, images / reference)


def _check_made_from(version: Version, source: Version, asset: str) -> None:
    """Refuse a version that was made from another state of `source` than the one read beside it."""
    made_from = version.manifest.inputs[source.asset]
    if made_from.data_version != source.manifest.data_version:
        raise StaleInput(asset, version.asset, source.asset)


def _pack_names(dataset: Version | None) -> list[str]:
    return list(dataset.manifest.details["image_packs"]) if dataset else []


def _find_image_packs(store: Store, dataset: Version) -> tuple[Path, ...]:
    """The image packs of a dataset version, which it shares with other versions.

    Raises:
        DamagedVersion: one of them is missing.
    """
    packs = tuple(store.root / "dataset" / name for name in _pack_names(dataset))
    for pack in packs:
        if not pack.is_file():
            raise DamagedVersion("dataset", dataset.manifest.version, pack, "is missing")
    return packs


def _describe_records(pipeline: Pipeline, source: Source, inputs: Mapping[str, Version]) -> SourceRecords:
    from vqa_pipeline.curation.plan import SourceRecords
    from vqa_pipeline.sources.formats import get_format

    records = inputs[f"records/{source.name}"]
    root = _source_root(pipeline, source, inputs[f"raw/{source.name}"])
    return SourceRecords(
        name=source.name,
        folder=records.path,
        image_root=get_format(source).find_image_root(source, root),
        num_question_records=records.manifest.details["num_question_records"],
        num_annotation_records=records.manifest.details["num_annotation_records"],
    )


def _check_dataset(pipeline: Pipeline, work: Work, summary: DatasetSummary) -> None:
    settings = pipeline.settings.dataset
    ledger = summary.ledger
    work.check("ledger_balances", ledger.find_imbalances(), num_rows=ledger.num_rows)
    work.check("has_questions", ledger.find_emptiness(), num_questions=ledger.count("accepted"))
    rejected = ledger.num_rejected / max(1, ledger.num_rows)
    problems = []
    if rejected > settings.max_reject_fraction:
        problems = [
            (
                f"{ledger.num_rejected} of {ledger.num_rows} rows ({rejected:.2%}) are rejected, more than "
                f"`dataset.max_reject_fraction: {settings.max_reject_fraction:g}` allows: {summary.tell_rejects()}; "
                "the page of the candidate lists them"
            )
        ]
    work.check("reject_fraction", problems, reject_fraction=rejected, num_rejected=ledger.num_rejected)
    leaks = summary.num_leaking_images
    problems = []
    if leaks and settings.leakage == "fail":
        pairs = "; ".join(leak.describe() for leak in summary.leaks[:_NAMED_LEAKS])
        more = "; …" if leaks > _NAMED_LEAKS else ""
        problems = [
            (
                f"{leaks} images are in more than one split ({pairs}{more}). Choose a policy: "
                "`dataset: {leakage: drop_from_train}` or `dataset: {leakage: report}`"
            )
        ]
    work.check("no_leakage", problems, num_leaking_images=leaks)
    rejects = [f"{ledger.num_rejected} rows are rejected: `vqa-pipeline rejects`"] if ledger.num_rejected else []
    work.check("no_rejects", rejects, num_rejected=ledger.num_rejected)


def _write_dataset_pages(pipeline: Pipeline, work: Work) -> None:
    from vqa_pipeline.reporting.cards import dataset_card, dataset_markdown
    from vqa_pipeline.reporting.images import draw_samples, make_thumbnails
    from vqa_pipeline.reporting.pages import render_dataset_page

    failures = [check.message for check in work.checks if check.blocking and not check.passed]
    facts = {"name": pipeline.name, **work.details, **work.numbers}
    packs = [open_store(pipeline).root / "dataset" / name for name in work.details["image_packs"]]
    pictures = make_thumbnails(packs, [leak["image"] for leak in work.details["leaks"]])
    work.write("page.html", render_dataset_page(facts, work.folder / "rejects", failures, pictures))
    work.write("README.md", dataset_card(facts))
    work.write(PAGE, dataset_markdown(facts, draw_samples(work.folder / "images.parquet", packs)))


# --------------------------------------------------------------------------------------------------------- vocabulary


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
        references = {split: _References(_find_questions(dataset, split)) for split in SPLITS if num_annotated[split]}
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
        covered = coverages["train"].coverage
        work.check("coverage", _explain_coverage(covered, suggest_min_count(counts, settings, train)))
        work.details = {"fingerprint": vocabulary.fingerprint, "metric": policy}
        work.write(PAGE, vocabulary_markdown(work.numbers, vocabulary.answers, vocabulary.counts))

    return run_stage(store, _make_stage(pipeline, "vocabulary", {"dataset": dataset}), build, log)


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


def _find_questions(dataset: Version, split: Split) -> list[Path]:
    return sorted((dataset.path / "questions").glob(f"{split}-*.parquet"))


# --------------------------------------------------------------------------------------------------------- checkpoint


def train_checkpoint(pipeline: Pipeline, training: TrainingSettings, run_worker: RunWorker, log: Log) -> Outcome:
    """`checkpoint`: a ViLT trained on the dataset, with its processor and vocabulary, loadable by plain transformers.

    `training` are the settings of this run: the pipeline's own, unless the launchpad or the command line changed some.
    A checkpoint with the same fingerprint that was published before is used again. The files of a backbone in a local
    folder are part of the fingerprint; one on the hub counts by its name, and the commit used is recorded.

    Raises:
        StaleInput: the vocabulary was made from another dataset.
        SettingsError: there is nothing to train on or to choose by.
        TrainingError: training did not end well; the next run resumes.
    """
    from vqa_pipeline.reporting.cards import checkpoint_markdown

    store = open_store(pipeline)
    dataset, vocabulary = store.require("dataset"), store.require("vocabulary")
    _check_made_from(vocabulary, dataset, "checkpoint")
    stage = _make_stage(pipeline, "checkpoint", {"dataset": dataset, "vocabulary": vocabulary})
    local = _find_local_backbone(pipeline, training)
    weights = {"backbone_digest": digest_backbone(local)} if local else {}
    stage = stage._replace(settings=stage_settings(pipeline, "checkpoint", training) | weights)
    versions = {name: version.manifest.data_version for name, version in stage.inputs.items()}
    fingerprint = compute_fingerprint("checkpoint", stage.number, stage.settings, versions)
    trained = store.find("checkpoint", fingerprint)
    if trained is not None:
        store.point_at(trained)

    def build(work: Work) -> None:
        job = _make_train_job(pipeline, training, fingerprint, dataset, vocabulary, work.folder)
        run_worker(job)
        told = json.loads((work.folder / "training.json").read_bytes())
        work.data_version = fingerprint
        work.numbers = _count_training(told)
        work.packages = told.get("packages", {})
        declared = stage_settings(pipeline, "checkpoint")
        overridden = {name: stage.settings[name] for name in declared if declared[name] != stage.settings[name]}
        work.details = {"overridden": overridden, "training": told}
        work.write(PAGE, checkpoint_markdown({**told, "overridden": overridden}))

    return run_stage(store, stage, build, log)


def _find_local_backbone(pipeline: Pipeline, training: TrainingSettings) -> Path | None:
    folder = pipeline.project_root / training.backbone
    return folder if training.backbone != TINY and folder.is_dir() else None


def _make_train_job(
    pipeline: Pipeline,
    training: TrainingSettings,
    fingerprint: str,
    dataset: Version,
    vocabulary: Version,
    output: Path,
) -> TrainJob:
    annotated = dataset.manifest.details["num_annotated_by_split"]
    for split, purpose in (("train", "train on"), ("val", "choose the checkpoint by")):
        if not annotated.get(split):
            raise SettingsError(
                "dataset.split_fractions",
                f"the dataset has no annotated {split} questions to {purpose}",
                "Declare the split in the sources, or give it a share here.",
            )
    local = _find_local_backbone(pipeline, training)
    if local:
        training = training.model_copy(update={"backbone": str(local)})
    return TrainJob(
        fingerprint=fingerprint,
        settings=training,
        metric=vocabulary.manifest.details["metric"],
        train_questions=tuple(map(str, _find_questions(dataset, "train"))),
        val_questions=tuple(map(str, _find_questions(dataset, "val"))),
        image_packs=tuple(map(str, _find_image_packs(open_store(pipeline), dataset))),
        vocabulary=str(vocabulary.path / "vocabulary.json"),
        progress_folder=str(pipeline.scratch_folder / "training"),
        output_folder=str(output),
    )


def _count_training(told: Mapping[str, Any]) -> dict[str, float | int | None]:
    names = ("num_steps", "num_train_questions", "num_val_questions", "best_epoch", "best_val_accuracy", "seconds")
    return {name: told[name] for name in names}


# -------------------------------------------------------------------------------------------------------- predictions


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

        training = pipeline.settings.training
        run_worker(
            PredictJob(
                checkpoint=str(checkpoint.path),
                checkpoint_version=checkpoint.manifest.data_version,
                questions=tuple((split, str(path)) for split in splits for path in _find_questions(dataset, split)),
                image_packs=tuple(map(str, _find_image_packs(store, dataset))),
                batch_size=training.batch_size,
                device=training.device,
                precision=training.precision,
                threads=training.threads,
                output_file=str(work.folder / "predictions.parquet"),
            )
        )
        table = pq.read_table(work.folder / "predictions.parquet")
        work.data_version = digest_table(table)
        work.numbers = {"num_predictions": table.num_rows}
        _write_official_results(work, dataset, splits)
        work.write(PAGE, predictions_markdown({**work.numbers, "splits": list(splits)}, table.slice(0, 5).to_pylist()))

    inputs = {"dataset": dataset, "checkpoint": checkpoint}
    return run_stage(store, _make_stage(pipeline, "predictions", inputs), build, log)


def _write_official_results(work: Work, dataset: Version, splits: tuple[Split, ...]) -> None:
    import pandas as pd

    from vqa_pipeline.evaluation.official_results import build_official_results

    predictions = pd.read_parquet(work.folder / "predictions.parquet", columns=["question_id", "split", "answer"])
    for split in splits:
        questions = _read_questions(dataset, (split,), ["question_id", "native_id"])
        results = build_official_results(questions, predictions[predictions["split"] == split])
        work.write(f"official_results/{split}.json", json.dumps(results, ensure_ascii=False))


def _read_questions(dataset: Version, splits: tuple[Split, ...], columns: list[str] | None = None) -> pd.DataFrame:
    import pandas as pd

    paths = [path for split in splits for path in _find_questions(dataset, split)]
    frames = [pd.read_parquet(path, columns=columns) for path in paths]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


# ------------------------------------------------------------------------------------------------------------ metrics


def evaluate(pipeline: Pipeline, log: Log) -> Outcome:
    """`metrics`: accuracy on the test split beside blind baselines, and the report.

    A test split without annotations is predicted, not scored: then the metrics say so, and hold no score.

    Raises:
        StaleInput: the predictions answer another dataset.
    """
    store = open_store(pipeline)
    dataset, predictions = store.require("dataset"), store.require("predictions")
    _check_made_from(predictions, dataset, "metrics")

    def build(work: Work) -> None:
        import pandas as pd

        from vqa_pipeline.answers.vocabulary import AnswerVocabulary
        from vqa_pipeline.evaluation.metrics import compute_metrics

        checkpoint = _find_checkpoint(store, predictions)
        vocabulary = AnswerVocabulary.from_json((checkpoint.path / "vocabulary.json").read_text(encoding="utf-8"))
        evaluated = _read_questions(dataset, (REPORTED_SPLIT,))
        if not dataset.manifest.details["num_annotated_by_split"][REPORTED_SPLIT]:
            _write_that_nothing_is_scored(work, len(evaluated))
            return
        answered = pd.read_parquet(predictions.path / "predictions.parquet")
        train = _read_questions(dataset, ("train",), _READ_BY_BASELINES)
        metrics, scored = compute_metrics(train, evaluated, answered, vocabulary, pipeline.settings.evaluation.metric)
        told = metrics.model_dump(mode="json")
        work.write("metrics.json", json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False))
        work.data_version = compute_fingerprint(told)
        work.numbers = {name: value for name, value in told.items() if isinstance(value, int | float)}
        blind = {
            name: told[name] for name in told if name.startswith("baseline_") and told[name] >= told["vqa_accuracy"]
        }
        problems = [
            f"{name} {score:.3f} is not below the model's {told['vqa_accuracy']:.3f}" for name, score in blind.items()
        ]
        work.check("beats_baselines", problems, vqa_accuracy=told["vqa_accuracy"])
        made_from = {"dataset": dataset, "checkpoint": checkpoint, "predictions": predictions}
        _write_report(pipeline, work, made_from, told, (evaluated, scored, answered))

    inputs = {"dataset": dataset, "predictions": predictions}
    return run_stage(store, _make_stage(pipeline, "metrics", inputs), build, log)


def _write_that_nothing_is_scored(work: Work, num_questions: int) -> None:
    told = {"num_questions": num_questions, "num_scored": 0}
    work.numbers = dict(told)
    work.data_version = compute_fingerprint(told)
    work.write("metrics.json", json.dumps(told))
    work.check("beats_baselines", ["nothing was scored: the test split has no answers"])
    work.write(PAGE, "The test split has no answers to score against. Its predictions are in the asset `predictions`.")


def _write_report(
    pipeline: Pipeline,
    work: Work,
    made_from: Mapping[str, Version],
    told: dict[str, Any],
    frames: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
) -> None:
    """The report and the asset's page; `frames` are the evaluated questions, their scores, and the predictions."""
    from vqa_pipeline.reporting.cards import metrics_markdown
    from vqa_pipeline.reporting.images import read_image
    from vqa_pipeline.reporting.report import ReportInput, pick_gallery, render_report

    dataset, checkpoint = made_from["dataset"], made_from["checkpoint"]
    packs = _find_image_packs(open_store(pipeline), dataset)
    right, wrong = pick_gallery(*frames, lambda sha: read_image(packs, sha))
    training = checkpoint.manifest.details["training"]
    report = ReportInput(
        name=pipeline.name,
        splits=(REPORTED_SPLIT,),
        metrics=told,
        training=training,
        ledger=dataset.manifest.details["ledger"],
        rejects=dataset.path / "rejects",
        right=right,
        wrong=wrong,
        provenance=_describe_provenance(made_from),
    )
    work.write("report.html", render_report(report))
    picture = (right or wrong)[0]["picture"] if right or wrong else None
    work.write(PAGE, metrics_markdown(told, training["curve"], picture))


def _describe_provenance(made_from: Mapping[str, Version]) -> dict[str, str]:
    manifests = [version.manifest for version in made_from.values()]
    packages: dict[str, str] = {}
    for manifest in manifests:
        packages |= manifest.packages
    return {
        **{
            manifest.asset: f"version {manifest.version}, data version {manifest.data_version}"
            for manifest in manifests
        },
        "training settings": json.dumps(made_from["checkpoint"].manifest.settings, sort_keys=True),
        "packages": ", ".join(f"{name} {number}" for name, number in sorted(packages.items())),
        "commit": made_from["checkpoint"].manifest.git_commit or "unknown",
    }


def _find_checkpoint(store: Store, predictions: Version) -> Version:
    """The checkpoint that made the predictions, which need not be the current one any more."""
    made_by = predictions.manifest.inputs["checkpoint"].data_version
    checkpoint = store.find("checkpoint", made_by)
    if checkpoint is None:
        raise StaleInput("metrics", "predictions", "checkpoint")
    return checkpoint
