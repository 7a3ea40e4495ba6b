"""`records/<source>`: the rows of a source, read and validated."""

from __future__ import annotations

from collections.abc import Sequence

from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.progress import Progress, silent
from vqa_pipeline.publishing import PAGE, Log, Outcome, Work, run_stage
from vqa_pipeline.stages.raw import find_source_root, observe_again, unchanged
from vqa_pipeline.stages.stage import make_stage, open_store

_NAMED = 5


def build_records(pipeline: Pipeline, source: str, log: Log, progress: Progress = silent) -> Outcome:
    """`records/<source>`: the source's rows, read and validated, each with its locator; rejects beside them.

    Raises:
        SourceError: a file is missing, unreadable or not of its format.
        SourceChanged: a file changed while it was read, or since `raw` was observed.
    """
    from vqa_pipeline.curation.records import validate_source
    from vqa_pipeline.reporting.cards import records_markdown

    raw = observe_again(pipeline, source, log, progress)
    settings = pipeline.source(source)

    def build(work: Work) -> None:
        with unchanged(pipeline, settings, raw):
            root = find_source_root(pipeline, settings, raw)
            summary = validate_source(settings, root, work.folder, progress=progress)
        work.data_version = summary.data_version
        work.details = summary.model_dump(mode="json", exclude={"data_version"})
        work.check("corrections_fit", _tell_unfit(summary.unfit_corrections), num_unfit=len(summary.unfit_corrections))
        work.numbers = {name: value for name, value in work.details.items() if name.startswith("num_")}
        work.write(PAGE, records_markdown({"source": source, **work.details}))

    stage = make_stage(pipeline, f"records/{source}", {f"raw/{source}": raw})
    return run_stage(open_store(pipeline), stage, build, log)


def _tell_unfit(unfit: Sequence[str]) -> list[str]:
    if not unfit:
        return []
    named, more = "; ".join(unfit[:_NAMED]), "; …" if len(unfit) > _NAMED else ""
    count = "1 correction was" if len(unfit) == 1 else f"{len(unfit)} corrections were"
    return [f"{count} not applied: {named}{more}. Correct the file, or remove its rows"]
