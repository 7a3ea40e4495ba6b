"""What Dagster's asset pages show, as markdown, and the README of a dataset. All text from data is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vqa_pipeline.reporting.plots import draw_curve_png
from vqa_pipeline.schemas import FATES, SPLITS

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~>-])")
_BLANK = re.compile(r"\s+")


def escape_markdown(text: object) -> str:
    """Text that markdown shows as it is, on one line: no markup, no HTML, no table border."""
    line = _BLANK.sub(" ", str(text)).strip()
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return _SPECIAL.sub(r"\\\1", line)


def _draw_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(_format(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _format(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else escape_markdown(value)


def raw_markdown(facts: Mapping[str, Any]) -> str:
    """A source's files."""
    rows = [("format", facts["format"]), ("files", facts["num_files"]), ("bytes", facts["num_bytes"])]
    return _draw_table(["source " + escape_markdown(facts["source"]), ""], rows)


def records_markdown(facts: Mapping[str, Any]) -> str:
    """What became of a source's records."""
    counts = [
        ("question records read", facts["num_question_records"]),
        ("annotation records read", facts["num_annotation_records"]),
        ("valid questions", facts["num_questions"]),
        ("valid annotations", facts["num_annotations"]),
        ("rejected", facts["num_rejects"]),
    ]
    parts = [_draw_table(["records", "count"], counts)]
    if facts["rejects_by_rule"]:
        parts.append(_draw_table(["rejected by rule", "rows"], facts["rejects_by_rule"].items()))
    if facts["repairs_by_kind"]:
        parts.append(_draw_table(["repair", "times"], facts["repairs_by_kind"].items()))
    return "\n\n".join(parts)


def dataset_markdown(facts: Mapping[str, Any], picture: str | None = None) -> str:
    """The ledger, the splits, and a picture."""
    by_split = [(s, facts["num_questions_by_split"][s], facts["num_annotated_by_split"][s]) for s in SPLITS]
    parts = [
        f"**{facts['num_questions']:,} questions** on **{facts['num_images']:,} images**, from {facts['num_rows']:,} raw rows.",
        _draw_table(["split", "questions", "annotated"], by_split),
        _draw_table(["source", "fate", "rule", "rows"], list_fates(facts["ledger"])),
    ]
    if facts["carved"]:
        parts.append(f"No question declares {' and '.join(facts['carved'])}: carved from train, by image.")
    if facts["leaks"]:
        leaks = [
            (leak["image"][:16], ", ".join(leak["splits"]), ", ".join(leak["question_ids"])) for leak in facts["leaks"]
        ]
        parts.append(_draw_table(["image in two splits", "splits", "questions"], leaks[:10]))
    if picture:
        parts.append(f"![A picture of the dataset]({picture})")
    return "\n\n".join(parts)


def list_fates(ledger: Mapping[str, Any]) -> list[tuple[str, str, str, int]]:
    """The ledger as rows: source, fate, rule, count."""
    return [
        (source, fate, rule, count)
        for source, account in ledger["sources"].items()
        for fate in FATES
        for rule, count in account["fates"].get(fate, {}).items()
    ]


def vocabulary_markdown(facts: Mapping[str, Any], answers: Sequence[str], counts: Sequence[int]) -> str:
    """Size, coverage and ceiling, and the first answers."""
    measured = [
        (split, facts[f"coverage_{split}"], facts[f"ceiling_{split}"])
        for split in SPLITS
        if f"coverage_{split}" in facts
    ]
    first = zip(answers[:20], counts[:20], strict=True)
    return "\n\n".join(
        [
            f"**{facts['num_answers']:,} answers** of {facts['num_answers_seen']:,} seen.",
            _draw_table(["split", "coverage", "ceiling"], measured),
            "Coverage: share of questions with an answer in the vocabulary. Ceiling: the best score reachable with it.",
            _draw_table(["answer", "training questions"], first),
        ]
    )


def checkpoint_markdown(facts: Mapping[str, Any]) -> str:
    """What was trained, how well, and the learning curve."""
    learnable = facts["learnable"]
    rows: list[tuple[str, object]] = [
        ("backbone", facts["backbone"]),
        ("questions to learn from", facts["num_train_questions"]),
        ("best validation accuracy", float(facts["best_val_accuracy"])),
        ("in epoch", facts["best_epoch"]),
        ("parameters that learn", f"{learnable['num_learnable']:,} of {learnable['num_parameters']:,}"),
        ("steps", facts["num_steps"]),
        ("device", f"{facts['device']}, {facts['precision']}"),
        ("seconds", float(facts["seconds"])),
        ("fingerprint", facts["fingerprint"]),
    ]
    if facts.get("overridden"):
        rows.append(("settings overridden in this run", facts["overridden"]))
    return "\n\n".join([_draw_table(["checkpoint", ""], rows), f"![Learning curve]({draw_curve_png(facts['curve'])})"])


def predictions_markdown(facts: Mapping[str, Any], sample: Sequence[Mapping[str, Any]]) -> str:
    """How many, and the first few."""
    rows = [(row["question_id"], row["answer"], float(row["score"])) for row in sample]
    splits = ", ".join(facts["splits"])
    return "\n\n".join(
        [
            f"**{facts['num_predictions']:,} predictions** for {splits}.",
            _draw_table(["question", "answer", "score"], rows),
        ]
    )


def metrics_markdown(facts: Mapping[str, Any], curve: Sequence[Mapping[str, Any]], picture: str | None = None) -> str:
    """The headline beside the baselines, the curve and a picture."""
    rows = [
        ("**model**", float(facts["vqa_accuracy"])),
        ("question only", float(facts["baseline_question_only"])),
        ("most common answer per question type", float(facts["baseline_question_type"])),
        ("most common answer", float(facts["baseline_majority"])),
        ("ceiling of the vocabulary", float(facts["ceiling"])),
    ]
    table = "\n".join(["| VQA accuracy | |", "| --- | --- |", *(f"| {name} | {value:.3f} |" for name, value in rows)])
    parts = [
        f"**VQA accuracy {facts['vqa_accuracy']:.3f}** ({facts['metric']}) on {facts['num_scored']:,} questions.",
        table,
        f"![Learning curve]({draw_curve_png(curve)})",
    ]
    if picture:
        parts.append(f"![A question that was answered]({picture})")
    return "\n\n".join(parts)


def dataset_card(facts: Mapping[str, Any]) -> str:
    """README.md of a dataset version, with the front matter that Hugging Face's `load_dataset` reads."""
    splits = [split for split in SPLITS if facts["num_questions_by_split"][split]]
    files = "\n".join(f"      - split: {split}\n        path: questions/{split}-*.parquet" for split in splits)
    packs = "\n".join(f"      - ../../{pack}" for pack in facts["image_packs"])
    images = f"  - config_name: images\n    data_files:\n{packs}\n" if facts["image_packs"] else ""
    return (
        f"---\nconfigs:\n  - config_name: questions\n    default: true\n    data_files:\n{files}\n{images}---\n\n"
        f"# {facts['name']}\n\n"
        "Questions are in `questions/<split>-*.parquet`, facts about their images in `images.parquet`, the images' own "
        "bytes in packs that versions share; `image_sha256` joins them. What was not accepted is in `rejects/`, "
        "with rule, reason, suggested fix, place and raw payload. `ledger.json` accounts for every raw row.\n\n"
        + dataset_markdown({**facts, "leaks": []})
        + "\n"
    )
