"""What Dagster's asset pages show, as markdown. All text from data is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vqa_pipeline.reporting.escaping import escape_markdown
from vqa_pipeline.reporting.ledger import list_fates, part_changes, sum_sources
from vqa_pipeline.reporting.plots.curve import draw_curve_png
from vqa_pipeline.reporting.scores import Score, list_headlines, list_scores
from vqa_pipeline.reporting.statistics import list_counts, list_sources
from vqa_pipeline.reporting.training import list_facts, list_rates
from vqa_pipeline.schemas import FATES, SPLITS

_SHOWN_LEAKS = 10
_SHOWN_ANSWERS = 20
_SHOWN_UNFIT = 20
_SHOWN_FILES = 20
_BROKEN_OFF = "record_truncated"
_BAR_LENGTH = 20
_LEARNED = ("what learned", "tensors", "parameters", "peak rate")
_RATES = ("learning rate tried", "weight decay", "accuracy by epoch", "best")

_VOCABULARY_TERMS = (
    "Coverage: share of questions with an annotator's answer in the vocabulary. "
    "Ceiling: the score of the best choice from it."
)


def _draw_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers to the right, texts escaped."""
    cells = [list(row) for row in rows]
    numeric = [
        bool(cells) and all(isinstance(row[column], int | float) for row in cells) for column in range(len(header))
    ]
    lines = [_draw_line(escape_markdown(name) for name in header)]
    lines.append("|" + "|".join(" ---: " if right else " --- " for right in numeric) + "|")
    return "\n".join([*lines, *(_draw_line(map(_format, row)) for row in cells)])


def _draw_line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _format(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else escape_markdown(value)


def _draw_bar(share: float) -> str:
    """A share in [0, 1] as blocks: text, so that it is sharp and has the page's colour."""
    filled = round(share * _BAR_LENGTH)
    return "█" * filled + "░" * (_BAR_LENGTH - filled)


def _show_picture(text: str, picture: str | None) -> list[str]:
    return [f"![{text}]({picture})"] if picture else []


def raw_markdown(facts: Mapping[str, Any]) -> str:
    """A source's files."""
    size = f"{facts['num_bytes'] / 1e6:,.1f} MB"
    rows = [("format", facts["format"]), ("files", f"{facts['num_files']:,}"), ("size", size)]
    return _draw_table([f"source {facts['source']}", ""], rows)


def records_markdown(facts: Mapping[str, Any]) -> str:
    """What became of a source's records."""
    counts = [
        ("question records read", facts["num_question_records"]),
        ("annotation records read", facts["num_annotation_records"]),
        ("valid questions", facts["num_questions"]),
        ("valid annotations", facts["num_annotations"]),
        ("rejected", facts["num_rejects"]),
    ]
    parts = [_draw_table([f"records of {facts['source']}", "rows"], counts), *_tell_files(facts)]
    if facts["num_embedded_images"]:
        parts.append(f"The files hold {facts['num_embedded_images']:,} distinct images, kept beside the records.")
    if _BROKEN_OFF in facts["rejects_by_rule"]:
        parts.append("**A file or a row breaks off**: what is missing behind it is in no count. Bring it whole.")
    if facts["rejects_by_rule"]:
        parts.append(_draw_table(["rejected or left out by rule", "rows"], facts["rejects_by_rule"].items()))
    if facts["corrections_by_action"]:
        parts.append(_draw_table(["corrections", "applied"], facts["corrections_by_action"].items()))
    return "\n\n".join([*parts, *_draw_changes(facts)])


def _draw_changes(facts: Mapping[str, Any]) -> list[str]:
    """What people corrected, what of it fits no row, and what was mended; tables of what there is."""
    corrections, repairs = part_changes(facts["repairs_by_kind"])
    unfit = [(one,) for one in facts["unfit_corrections"][:_SHOWN_UNFIT]]
    told = {"corrected by people": corrections, "mended and recorded": repairs}
    tables = [_draw_table([title, "times"], counts.items()) for title, counts in told.items() if counts]
    return [*tables, _draw_table(["corrections that were not applied"], unfit)] if unfit else tables


def _tell_files(facts: Mapping[str, Any]) -> list[str]:
    """What the files were that the records were read from."""
    told = f"Read from {facts['num_files']:,} files."
    if facts["num_junk_files"]:
        told += f" Passed by: {facts['num_junk_files']:,} files that systems and editors leave behind."
    encodings = list(facts["encodings"].items())
    if not encodings:
        return [told]
    more = f"And {len(encodings) - _SHOWN_FILES:,} more." if len(encodings) > _SHOWN_FILES else ""
    return [told, _draw_table(["not plain UTF-8", "read as"], encodings[:_SHOWN_FILES]), *([more] if more else [])]


def dataset_markdown(facts: Mapping[str, Any], picture: str | None = None) -> str:
    """The splits, the ledger, leaks if there are any, and a picture (a data URI)."""
    accounts = [
        [row["source"], row["num_rows"], *(row[fate] for fate in FATES)] for row in sum_sources(facts["ledger"])
    ]
    rules = [row for row in list_fates(facts["ledger"]) if row[1] != "accepted"]
    images, rows = f"{facts['num_images']:,} images", f"{facts['num_rows']:,} raw rows"
    parts = [
        f"**{facts['num_questions']:,} questions** on {images}, from {rows}.",
        *_show_picture("Some images of the dataset", picture),
        _draw_table(["split", "questions", "with answers"], _list_splits(facts)),
        _draw_table(["source", "licence", *SPLITS], list_sources(facts["statistics"], facts["licenses"])),
    ]
    if facts["carved"]:
        parts.append(f"No question declares {' or '.join(facts['carved'])}: carved from train, by image.")
    parts.append(_draw_table(["source", "rows read", *FATES], accounts))
    if rules:
        parts.append(_draw_table(["source", "fate", "rule", "rows"], rules))
    parts += _draw_changes(facts)
    if facts["alterations_by_kind"]:
        parts.append(_draw_table(["done to show images as RGB", "images"], facts["alterations_by_kind"].items()))
    if facts["leaks"]:
        parts.append(_draw_table(["image in two splits", "splits", "questions"], _list_leaks(facts)))
    for title, counts in list_counts(facts["statistics"]):
        parts.append(_draw_table([title, "questions", ""], [(name, n, _draw_bar(share)) for name, n, share in counts]))
    return "\n\n".join(parts)


def _list_splits(facts: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    return [(split, facts["num_questions_by_split"][split], facts["num_annotated_by_split"][split]) for split in SPLITS]


def _list_leaks(facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (_name_leak(leak), ", ".join(leak["splits"]), ", ".join(leak["question_ids"]))
        for leak in facts["leaks"][:_SHOWN_LEAKS]
    ]


def _name_leak(leak: Mapping[str, Any]) -> str:
    near = f", nearly {leak['near'][:24]} (distance {leak['distance']})" if leak["near"] else ""
    return f"{leak['image'][:24]}{near}"


def vocabulary_markdown(facts: Mapping[str, Any], answers: Sequence[str], counts: Sequence[int]) -> str:
    """Size, coverage and ceiling, and the most frequent answers."""
    measured = [
        (split, float(facts[f"coverage_{split}"]), float(facts[f"ceiling_{split}"]))
        for split in SPLITS
        if f"coverage_{split}" in facts
    ]
    first = list(zip(answers, counts, strict=True))[:_SHOWN_ANSWERS]
    return "\n\n".join(
        [
            f"**{facts['num_answers']:,} answers** of {facts['num_answers_seen']:,} seen in training.",
            _draw_table(["split", "coverage", "ceiling"], measured),
            _VOCABULARY_TERMS,
            _draw_table(["most frequent answers", "training questions"], first),
        ]
    )


def checkpoint_markdown(facts: Mapping[str, Any]) -> str:
    """What was trained, how well, and the learning curve."""
    rows = list_facts(facts)
    rows += [(f"in this run: {name}", str(value)) for name, value in facts.get("overridden", {}).items()]
    table = _draw_table(["checkpoint", ""], rows)
    curve = _show_picture("Learning curve", draw_curve_png(facts["curve"]))
    learned = _draw_table(_LEARNED, map(_tell_part, facts["learnable"]["parts"]))
    rates = list_rates(facts)
    return "\n\n".join([table, *curve, learned, *([_draw_table(_RATES, rates)] if rates else [])])


def _tell_part(part: Mapping[str, Any]) -> tuple[object, ...]:
    return part["name"], part["num_tensors"], part["num_learnable"], f"{part['learning_rate']:.2g}"


def predictions_markdown(facts: Mapping[str, Any], sample: Sequence[Mapping[str, Any]]) -> str:
    """How many, and the first few."""
    rows = [(row["question_id"], row["answer"], float(row["score"])) for row in sample]
    return "\n\n".join(
        [
            f"**{facts['num_predictions']:,} predictions** for {', '.join(facts['splits'])}.",
            _draw_table(["question", "answer", "score"], rows),
        ]
    )


def metrics_markdown(facts: Mapping[str, Any], curve: Sequence[Mapping[str, Any]], picture: str | None = None) -> str:
    """The headline beside the baselines as bars, the curve, and a picture (a data URI)."""
    scores = [
        (score.label, _draw_bar(score.share), float(score.share), _tell_interval(score)) for score in list_scores(facts)
    ]
    headlines = [(one.label, one.figure, one.text) for one in list_headlines(facts)[1:]]
    return "\n\n".join(
        [
            _tell_headline(facts),
            _draw_table(["", "", ""], headlines),
            _draw_table(["VQA accuracy", "", "score", "95 % interval"], scores),
            "The baselines do not see the question's image.",
            *_show_picture("Learning curve", draw_curve_png(curve)),
            *_show_picture("An image of an evaluated question", picture),
        ]
    )


def _tell_interval(score: Score) -> str:
    return "" if score.interval is None else f"{score.interval['low']:.3f} to {score.interval['high']:.3f}"


def _tell_headline(facts: Mapping[str, Any]) -> str:
    low, high = facts["interval"]["low"], facts["interval"]["high"]
    return (
        f"**VQA accuracy {facts['vqa_accuracy']:.3f}** ({facts['metric']}), with 95 % confidence between {low:.3f} and "
        f"{high:.3f}, on {facts['num_scored']:,} questions about {facts['num_images']:,} images."
    )
