"""`dataset`: the records of all sources joined with their images, and the gate they must pass.

Also how later stages find and read a published dataset's questions and image packs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from vqa_pipeline.errors import DamagedVersion, SourceChanged
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.progress import Progress, silent
from vqa_pipeline.publishing import PAGE, Log, Outcome, Work, run_stage
from vqa_pipeline.schemas import QUESTIONS, Split
from vqa_pipeline.stages.dataset_changes import read_fields, tell_changes
from vqa_pipeline.stages.raw import find_source_root, list_raw_files, observe_again, unchanged
from vqa_pipeline.stages.stage import STAGE_NUMBERS, check_made_from, find_licenses, make_stage, open_store
from vqa_pipeline.store import Store, Version

if TYPE_CHECKING:
    import pandas as pd

    from vqa_pipeline.curation.source_records import SourceRecords
    from vqa_pipeline.curation.summary import DatasetSummary
    from vqa_pipeline.sources.formats import Source

_NAMED_LEAKS = 3


def build_dataset(pipeline: Pipeline, log: Log, progress: Progress = silent) -> Outcome:
    """`dataset`: records of all sources joined with their images, deduplicated, split, leak-free, with the ledger.

    Raises:
        GateFailed: no questions, too many rejects, leakage, or a ledger that does not balance.
        StaleInput: a source changed since its records were read.
        SourceError: an image cannot be read, which says nothing about the image.
        SourceChanged: a file changed while the dataset was built; what is there now and then is no verdict.
    """
    from vqa_pipeline.curation.plan import Known
    from vqa_pipeline.curation.plan import build_dataset as build_plan
    from vqa_pipeline.curation.statistics import count_statistics
    from vqa_pipeline.curation.tasks import TaskProcesses

    store = open_store(pipeline)
    inputs: dict[str, Version] = {}
    for source in pipeline.settings.sources:
        raw = observe_again(pipeline, source.name, log, progress)
        records = store.require(f"records/{source.name}")
        check_made_from(records, raw, "dataset")
        inputs |= {raw.asset: raw, records.asset: records}

    def build(work: Work) -> None:
        current = store.current("dataset")
        kept = _find_packs_to_keep(store, current)
        sources = [_describe_records(pipeline, source, inputs) for source in pipeline.settings.sources]
        scratch = pipeline.scratch_folder / "plan"
        with ExitStack() as guards:
            for source in pipeline.settings.sources:
                guards.enter_context(unchanged(pipeline, source, inputs[f"raw/{source.name}"]))
            tasks = guards.enter_context(TaskProcesses(pipeline.settings.compute.workers))
            known = Known([store.root / "dataset" / name for name in kept], _find_known_images(pipeline))
            summary = build_plan(sources, pipeline.settings.dataset, known, scratch, work.folder, tasks, progress)
            _check_not_lost(pipeline, summary, inputs)
        packs = [store.share("dataset", pack) for pack in summary.new_packs]
        for pack in summary.new_packs:
            pack.unlink()
        work.data_version = summary.data_version
        statistics = count_statistics(sorted((work.folder / "questions").glob("*.parquet"))).model_dump(mode="json")
        packed = {"image_packs": sorted({*kept, *packs})}
        told = {"licenses": find_licenses(pipeline), "unfit_corrections": _list_unfit_corrections(inputs)}
        work.details = summary.describe() | packed | {"statistics": statistics} | told
        work.details["fields"] = read_fields(inputs)
        work.numbers = summary.count()
        _check_dataset(pipeline, work, summary)
        tell_changes(store, work)
        _write_dataset_pages(pipeline, work, sources)

    return run_stage(store, make_stage(pipeline, "dataset", inputs), build, log)


def _find_known_images(pipeline: Pipeline) -> Path:
    """Where facts about images are kept that were found by the checks of today, with the decoder of today."""
    import PIL

    name = f"known-images-{STAGE_NUMBERS['dataset']}-{PIL.__version__}.arrow"
    for other in pipeline.scratch_folder.glob("known-images-*.arrow"):
        if other.name != name:
            other.unlink()
    return pipeline.scratch_folder / name


def _check_not_lost(pipeline: Pipeline, summary: DatasetSummary, inputs: Mapping[str, Version]) -> None:
    """Refuse what was made of references to images that `raw` has and that were away while they were looked for."""
    from vqa_pipeline.curation.image_index import ImageIndex
    from vqa_pipeline.sources.formats import get_format
    from vqa_pipeline.sources.formats.shapes import ShapesSource
    from vqa_pipeline.sources.observation import source_base

    for name, looked_for in summary.images_looked_for.items():
        source = pipeline.source(name)
        if not looked_for or isinstance(source, ShapesSource):
            continue  # a generated source's files are published: nobody moves them
        images = get_format(source).find_image_root(source, pipeline.project_root)
        if images is None or images.is_file():
            continue  # an archive is one file, and `unchanged` looks after it
        base = source_base(source, pipeline.project_root)
        listed = [base / file for file in list_raw_files(inputs[f"raw/{name}"])]
        inside = (file.relative_to(images).as_posix() for file in listed if file.is_relative_to(images))
        index = ImageIndex(inside, images.name)
        for reference, file in looked_for.items():
            meant = index.find_name(reference)
            if meant != file:
                raise SourceChanged(name, images / (meant or file or reference))


def _list_unfit_corrections(inputs: Mapping[str, Version]) -> list[str]:
    """Corrections of all sources that were not applied, for the one page that shows what people did."""
    return [one for version in inputs.values() for one in version.manifest.details.get("unfit_corrections", ())]


def _describe_records(pipeline: Pipeline, source: Source, inputs: Mapping[str, Version]) -> SourceRecords:
    from vqa_pipeline.curation.source_records import SourceRecords
    from vqa_pipeline.sources.formats import get_format

    records = inputs[f"records/{source.name}"]
    root = find_source_root(pipeline, source, inputs[f"raw/{source.name}"])
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
                "the page of the candidate lists them; correct them, or raise the limit"
            )
        ]
    work.check("reject_fraction", problems, reject_fraction=rejected, num_rejected=ledger.num_rejected)
    problems = []
    if summary.leaks and settings.leakage == "fail":
        pairs = "; ".join(leak.describe() for leak in summary.leaks[:_NAMED_LEAKS])
        more = "; …" if len(summary.leaks) > _NAMED_LEAKS else ""
        problems = [
            (
                f"{summary.tell_leaks()} in more than one split ({pairs}{more}). Choose a policy: "
                "`dataset: {leakage: drop_from_train}` or `dataset: {leakage: report}`"
            )
        ]
    counts = {"num_leaking_images": summary.num_leaking_images, "num_leaking_groups": summary.num_leaking_groups}
    work.check("no_leakage", problems, **counts)
    found = f"{ledger.num_rejected} rows are rejected: `vqa-pipeline rejects` lists them"
    work.check("no_rejects", [found] if ledger.num_rejected else [], num_rejected=ledger.num_rejected)


def _write_dataset_pages(pipeline: Pipeline, work: Work, sources: Sequence[SourceRecords]) -> None:
    from vqa_pipeline.reporting.cards import dataset_markdown
    from vqa_pipeline.reporting.dataset_card import dataset_card
    from vqa_pipeline.reporting.images import RawImages, draw_samples, make_thumbnails
    from vqa_pipeline.reporting.pages import render_dataset_page
    from vqa_pipeline.reporting.rejects import group_rejects, list_images

    failures = [check.message for check in work.checks if check.blocking and not check.passed]
    facts = {"name": pipeline.name, **work.details, **work.numbers}
    packs = [open_store(pipeline).root / "dataset" / name for name in work.details["image_packs"]]
    rejects, raw_images = work.folder / "rejects", RawImages({one.name: one.images for one in sources})
    leaks = work.details["leaks"]
    shown = [leak[which] for leak in leaks for which in ("image", "near") if leak[which]]
    pictures = make_thumbnails(packs, shown)
    left_out = {image for image in shown if image not in pictures}  # by the policy: no question has them any more
    asked = {name for leak in leaks if left_out & {leak["image"], leak["near"]} for name in leak["question_ids"]}
    pictures |= raw_images.find(left_out, list_images(rejects, asked))
    groups = group_rejects(rejects, raw_images.show)
    work.write("page.html", render_dataset_page(facts, groups, failures, pictures))
    work.write("README.md", dataset_card(facts))
    work.write(PAGE, dataset_markdown(facts, draw_samples(work.folder / "images.parquet", packs)))


def _find_packs_to_keep(store: Store, current: Version | None) -> list[str]:
    """The packs of the current version that the next one may share; what the others hold is packed again."""
    from vqa_pipeline.curation.image_checks import has_present_form

    packs = {name: store.root / "dataset" / name for name in _pack_names(current)}
    return [name for name, pack in packs.items() if pack.is_file() and has_present_form(pack)]


def _pack_names(dataset: Version | None) -> list[str]:
    return list(dataset.manifest.details["image_packs"]) if dataset else []


def find_image_packs(store: Store, dataset: Version) -> tuple[Path, ...]:
    """The image packs of a dataset version, which it shares with other versions.

    Raises:
        DamagedVersion: one of them is missing.
    """
    packs = tuple(store.root / "dataset" / name for name in _pack_names(dataset))
    for pack in packs:
        if not pack.is_file():
            raise DamagedVersion("dataset", dataset.manifest.version, pack, "is missing")
    return packs


def find_questions(dataset: Version, split: Split) -> list[Path]:
    """The files with the questions of a split, in their order; none if it has no question."""
    return sorted((dataset.path / "questions").glob(f"{split}-*.parquet"))


def read_questions(dataset: Version, splits: tuple[Split, ...], columns: list[str] | None = None) -> pd.DataFrame:
    """The questions of some splits, all columns or those named."""
    import pandas as pd

    paths = [path for split in splits for path in find_questions(dataset, split)]
    frames = [pd.read_parquet(path, columns=columns) for path in paths]
    if not frames:  # every question of these splits was rejected
        return pd.DataFrame(columns=columns or QUESTIONS.names)
    return pd.concat(frames, ignore_index=True)
