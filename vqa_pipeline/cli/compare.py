"""`compare`: why the accuracy changed between two versions, and which questions flipped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqa_pipeline.cli.options import AsJson, DeclarationFile, PipelineName, find_pipeline
from vqa_pipeline.cli.tables import format_table
from vqa_pipeline.files import write_atomically
from vqa_pipeline.lineage.naming import LATEST, PREVIOUS
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.reporting.escaping import escape_control, shorten

if TYPE_CHECKING:
    from vqa_pipeline.lineage.answered import Found
    from vqa_pipeline.reporting.compare import ComparedPage, Flip

_QUESTION_CHARACTERS = 60
_ANSWER_CHARACTERS = 30

Before = Annotated[str, typer.Argument(metavar="[A]", help="What was.")]
After = Annotated[str, typer.Argument(metavar="[B]", help="What is.")]
PageFile = Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write it as a page, FILE.html.")]


def compare(
    before: Before = PREVIOUS,
    after: After = LATEST,
    pipeline: PipelineName = None,
    file: DeclarationFile = None,
    output: PageFile = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most so many flips each way.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Why the accuracy changed from A to B: policy, questions, answers or model; and which questions flipped.

    Each is latest, previous, champion, the beginning of a version's id (of metrics, predictions or a checkpoint), or a
    path to a version or to a file of predictions.
    """
    from vqa_pipeline.lineage.answered import find_answered

    chosen = find_pipeline(pipeline, file)
    page = _compare(
        chosen, find_answered(chosen, before), find_answered(chosen, after), limit, with_images=bool(output)
    )
    if output is not None:
        from vqa_pipeline.reporting.compare import render_comparison

        write_atomically(output.resolve(), render_comparison(page).encode())
    if as_json:
        print(json.dumps(_tell(page), indent=1))
        return
    print("\n".join(escape_control(line) for line in _format(page)))
    if output is not None:
        print("\nThe page: " + escape_control(output))


def _compare(pipeline: Pipeline, before: Found, after: Found, limit: int, *, with_images: bool) -> ComparedPage:
    from vqa_pipeline.evaluation.changes import explain_change, find_flips
    from vqa_pipeline.reporting.compare import ComparedPage, describe_flips

    change, shared = explain_change(before.answered, after.answered)
    lost, won = find_flips(shared)
    images = {*lost["image"][:limit], *won["image"][:limit]}
    pictures = _make_pictures(pipeline, after, sorted(images)) if with_images else {}
    return ComparedPage(
        name=pipeline.name,
        sides=[side.model_dump(mode="json") for side in (before.side, after.side)],
        change=change,
        lost=describe_flips(lost.head(limit), pictures),
        won=describe_flips(won.head(limit), pictures),
        num_lost=len(lost),
        num_won=len(won),
    )


def _make_pictures(pipeline: Pipeline, found: Found, images: Sequence[str]) -> dict[str, str]:
    """Thumbnails of images by what tells them apart; none where they are confidential."""
    from vqa_pipeline.reporting.images import make_thumbnails
    from vqa_pipeline.stages.dataset import find_image_packs
    from vqa_pipeline.stages.stage import open_store

    if not pipeline.settings.evaluation.images:
        return {}
    return make_thumbnails(find_image_packs(open_store(pipeline), found.dataset), images)


def _tell(page: ComparedPage) -> dict[str, Any]:
    def list_flips(flips: Sequence[Flip]) -> list[dict[str, Any]]:
        told = ("question_id", "question", "references", "before", "after")
        return [{name: getattr(flip, name) for name in told} for flip in flips]

    return {
        "pipeline": page.name,
        "before": page.sides[0],
        "after": page.sides[1],
        "change": page.change.model_dump(mode="json"),
        "num_right_to_wrong": page.num_lost,
        "num_wrong_to_right": page.num_won,
        "right_to_wrong": list_flips(page.lost),
        "wrong_to_right": list_flips(page.won),
    }


def _format(page: ComparedPage) -> Iterator[str]:
    from vqa_pipeline.reporting.compare import explain_model_part, list_parts

    yield f"{page.name}: VQA accuracy {page.change.before:.4f} → {page.change.after:.4f}"
    for word, side in zip(("before", "after"), page.sides, strict=True):
        where = f"metrics {side['metrics']}" if side["metrics"] else f"predictions {side['predictions']}"
        who = side["checkpoint_version"] or side["checkpoint"]
        yield f"  {word:7} {side['name']}: checkpoint {who}, {where}, by the {side['metric']} metric"
    yield ""
    parts = list_parts(page.change)
    rows = [(one.label, f"{one.change:+.4f}", f"{one.accuracy:.4f}", one.num_questions) for one in parts]
    total = sum(one.change for one in parts)
    rows.append(("Together", f"{total:+.4f}", f"{parts[-1].accuracy:.4f}", ""))  # type: ignore[arg-type]
    yield from format_table(rows, ("", "change", "accuracy", "questions")).splitlines()
    yield explain_model_part(page.change)
    yield from _format_flips("right before, wrong now", page.lost, page.num_lost)
    yield from _format_flips("wrong before, right now", page.won, page.num_won)


def _format_flips(title: str, flips: Sequence[Flip], count: int) -> Iterator[str]:
    more = f"; here are the first {len(flips)} (--limit)" if len(flips) < count else ""
    yield ""
    yield f"{count:,} {title}{more}"
    rows = [
        (
            flip.question_id,
            shorten(flip.question, _QUESTION_CHARACTERS),
            shorten(", ".join(flip.references), _ANSWER_CHARACTERS),
            _show(flip.before),
            _show(flip.after),
        )
        for flip in flips
    ]
    yield from format_table(rows, ("question", "", "people", "before", "after") if rows else ()).splitlines()


def _show(answer: str | None) -> str:
    return "(no answer)" if answer is None else shorten(answer, _ANSWER_CHARACTERS)
