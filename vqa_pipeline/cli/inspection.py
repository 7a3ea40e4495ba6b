"""How an inspection is told in a terminal: what was found, what to expect, and the block to paste."""

from __future__ import annotations

from collections.abc import Iterator

from vqa_pipeline.cli.tables import format_table
from vqa_pipeline.curation.findings import Count, InspectedSource, Inspection, Problem, UnknownFile
from vqa_pipeline.reporting.escaping import escape_control, shorten
from vqa_pipeline.scaffold import render_source
from vqa_pipeline.sources.recognition import validate_settings

_RAW_CHARACTERS = 160
_CELL_CHARACTERS = 48
_LISTED_FILES = 8
_SURE = 0.5
_MEGA = 1_000_000
_LAYOUTS = {
    "list": "a JSON list",
    "object": "a JSON object",
    "lines": "JSON Lines",
    "delimited": "a table",
    "parquet": "Parquet",
    "archive": "an archive",
    "binary": "no text",
    "text": "a text",
}
_OF_ROWS = {"list", "lines", "delimited", "parquet"}


def format_inspection(inspection: Inspection) -> str:
    """The whole inspection as text for people; nothing in it can act on a terminal."""
    return "\n".join(escape_control(line) for part in _tell(inspection) for line in part.split("\n"))


def render_block(inspection: Inspection) -> str:
    """The `sources:` block of a declaration."""
    return "sources:\n" + "".join(f"  {line}\n" for line in render_sources(inspection).splitlines())


def render_sources(inspection: Inspection, *, teach: bool = False) -> str:
    """The items of the block, each under lines that tell what it holds; to teach, over what else could be set."""
    return "".join(
        render_source(source.settings, _comment(source), _list_others(source) if teach else ())
        for source in inspection.sources
    )


def _list_others(source: InspectedSource) -> list[str]:
    fields = type(validate_settings(source.settings)).model_fields
    others = {name: field.description for name, field in fields.items() if name not in source.settings}
    return ["Also:"] * bool(others) + [f"{name}: {description}" for name, description in others.items()]


def _tell(inspection: Inspection) -> Iterator[str]:
    more = "" if inspection.is_whole else " or more"
    images = f", {_plural(inspection.num_images, 'image')}" if inspection.num_images else ""
    yield f"{inspection.path}: {_plural(inspection.num_files - inspection.num_images, 'file')}{images}{more}"
    if inspection.num_passed_over:
        yield f"{_plural(inspection.num_passed_over, 'file')} not looked into: inspect fewer at once"
    for source in inspection.sources:
        yield from _tell_source(source)
    if inspection.unknown:
        yield from _tell_unknown(inspection)
    if inspection.sources:
        yield "\nTo paste under `attributes:` of a defs.yaml (`vqa-pipeline new NAME PATH` writes a whole one):\n"
        yield render_block(inspection).rstrip("\n")
        yield "\nThis looked at beginnings. `vqa-pipeline validate` reads it all, joins it, and publishes nothing."
    else:
        yield "\n" + _explain_nothing(inspection)


def _comment(source: InspectedSource) -> list[str]:
    lines = [f"{_format_counts(source)} in {_plural(source.num_files, 'file')}"]
    if source.images.looked_for and not source.images.found:
        lines.append("no image was found: set `image_root` to their folder, or `dataset: {images_required: false}`")
    return lines


def _tell_source(source: InspectedSource) -> Iterator[str]:
    settings, images = source.settings, source.images
    sure = "" if source.certainty > _SURE else ", guessed by the names of its columns"
    yield f"\n{settings['name']}: format {settings['format']}{sure}"
    size = f"{source.num_bytes / _MEGA:,.1f} MB"
    yield f"  rows      {_format_counts(source)} in {_plural(source.num_files, 'file')}, {size}"
    if images.looked_for:
        where = f" in {images.image_root}" if images.image_root else ""
        share = images.found / images.looked_for
        yield f"  images    {images.found:,} of {images.looked_for:,} looked for are there{where} ({share:.0%})"
    if source.repairs:
        yield "  repairs   " + ", ".join(f"{kind} {count:,}" for kind, count in source.repairs.items())
    if source.error:
        yield f"  error     {source.error}"
    yield from _tell_rows(source)
    if not source.problems:
        yield f"  problems  none in {_plural(source.num_read, 'record')} read"
        return
    yield "  problems to expect"
    for problem in source.problems:
        yield from _tell_problem(problem)


def _tell_rows(source: InspectedSource) -> Iterator[str]:
    if source.first_rows:
        told = [
            (row.question, ", ".join(row.answers or ()) or "(unanswered)", row.image, row.split or "(by image)")
            for row in source.first_rows
        ]
        cells = [[shorten(cell, _CELL_CHARACTERS) for cell in row] for row in told]
        table = format_table(cells, ("question", "answers", "image", "split"))
        yield "  first rows\n" + "\n".join(f"    {line}" for line in table.splitlines())


def _tell_problem(problem: Problem) -> Iterator[str]:
    looked_at = _plural(problem.looked_at, problem.unit.removesuffix("s"))
    yield f"    {problem.rule}: {problem.count:,} of {looked_at} looked at"
    yield f"      such as  {problem.place}: {problem.reason}"
    yield f"      fix      {problem.fix}"
    if problem.raw:
        yield f"      raw      {shorten(' '.join(problem.raw.split()), _RAW_CHARACTERS)}"


def _tell_unknown(inspection: Inspection) -> Iterator[str]:
    yield "\nnot used"
    for file in inspection.unknown[:_LISTED_FILES]:
        fields = f" with {', '.join(file.fields)}" if file.fields else ""
        yield f"  {file.name}: {_LAYOUTS[file.layout]}{fields}; {file.reason}"
    if len(inspection.unknown) > _LISTED_FILES:
        yield f"  and {len(inspection.unknown) - _LISTED_FILES:,} more (--json lists them)"


def _explain_nothing(inspection: Inspection) -> str:
    """What to do where no source was recognised."""
    rows = next((file for file in inspection.unknown if file.layout in _OF_ROWS), None)
    if rows is None:
        return "No questions were found. A source is JSON, JSON Lines, CSV, TSV or Parquet that asks about images."
    return (
        "No format is known for these files. Rows with a question, an image and answers each are read by saying which "
        f"field holds what:\n\n{_suggest_table(rows)}"
    )


def _suggest_table(file: UnknownFile) -> str:
    settings = {
        "name": "mine",
        "format": "table",
        "files": file.name,
        "image_root": "FOLDER",
        "columns": {"question": "FIELD", "image": "FIELD", "answers": "FIELD"},
    }
    return "sources:\n" + "".join(f"  {line}\n" for line in render_source(settings).splitlines()).rstrip("\n")


def _format_counts(source: InspectedSource) -> str:
    counts = [_format_count(source.num_questions, "question")]
    counts += [_format_count(source.num_annotations, "annotation")] if source.num_annotations.value else []
    return " and ".join(counts)


def _format_count(count: Count, word: str) -> str:
    if count.basis != "estimated":
        return ("at least " if count.basis == "at_least" else "") + _plural(count.value, word)
    return "about " + _plural(round(count.value, 2 - len(str(count.value))), word)  # two digits are what it is worth


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
