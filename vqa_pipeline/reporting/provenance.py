"""A checkpoint's provenance as a card: what it was made from, by whom in the code, with what, how long, how good.

Everything comes from manifests; text from data and settings is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from vqa_pipeline.progress import format_seconds
from vqa_pipeline.reporting.escaping import escape_markdown
from vqa_pipeline.reporting.statistics import list_sources
from vqa_pipeline.schemas import SPLITS, Manifest


def provenance_markdown(checkpoint: Manifest, others: Mapping[str, Manifest | None]) -> str:
    """The card.

    Args:
        checkpoint: Whose.
        others: By asset, the first sources first, of all that it was made from, and of its predictions and metrics
            where there are any. None: that version is gone.
    """
    manifests = {**others, "checkpoint": checkpoint}
    sections = {
        "Made from": _draw_table(
            ("", "version", "stage number", "took", "published", "commit"), map(_tell_version, manifests.items())
        ),
        "Questions by source and split": _tell_sources(others.get("dataset")),
        "Answers": _tell_vocabulary(others.get("vocabulary")),
        "How good": _tell_scores(checkpoint, others.get("metrics")),
        "Settings": _draw_table(("setting", "value", ""), _list_settings(checkpoint)),
        "Hardware": escape_markdown(_tell_hardware(checkpoint)),
        "Packages": _list_packages(manifests.values()),
    }
    title = f"**Checkpoint {checkpoint.version}** (data version {checkpoint.data_version})"
    return "\n\n".join([title, *(f"**{name}**\n\n{told}" for name, told in sections.items() if told)])


def _tell_version(told: tuple[str, Manifest | None]) -> tuple[str, ...]:
    asset, manifest = told
    if manifest is None:
        return (escape_markdown(asset), "gone from the store", "", "", "", "")
    return (
        escape_markdown(asset),
        manifest.version,
        str(manifest.stage_number),
        format_seconds(manifest.seconds),
        f"{manifest.created_at:%Y-%m-%d %H:%M} UTC",
        escape_markdown(_tell_commit(manifest.git_commit)),
    )


def _tell_commit(commit: str | None) -> str:
    """Its beginning; a `+` stands for changes that were not committed."""
    if commit is None:
        return "not recorded"
    return f"{commit[:12]}+" if commit.endswith("+") else commit[:12]


def _tell_sources(dataset: Manifest | None) -> str:
    if dataset is None:
        return ""
    rows = list_sources(dataset.details["statistics"], dataset.details.get("licenses", {}))
    return _draw_table(("source", "licence", *SPLITS), (tuple(map(_tell_count, row)) for row in rows))


def _tell_vocabulary(vocabulary: Manifest | None) -> str:
    if vocabulary is None:
        return ""
    numbers = vocabulary.numbers
    covered = [f"{numbers[f'coverage_{split}']:.1%} of {split}" for split in SPLITS if numbers.get(f"coverage_{split}")]
    told = f"{numbers['num_answers']:,}"
    return f"{told}; they cover {', '.join(covered)}." if covered else f"{told}."


def _tell_scores(checkpoint: Manifest, metrics: Manifest | None) -> str:
    told = checkpoint.details["training"]
    chosen = f"{told['best_val_accuracy']:.3f} on {told['num_val_questions']:,} validation questions, by which it was"
    lines = [f"{chosen} chosen (epoch {told['best_epoch']})."]
    if metrics is not None and metrics.numbers.get("vqa_accuracy") is not None:
        numbers = metrics.numbers
        lines.append(
            f"VQA accuracy {numbers['vqa_accuracy']:.3f} ({numbers['interval_low']:.3f} to "
            f"{numbers['interval_high']:.3f}) on {numbers['num_scored']:,} test questions."
        )
    return " ".join(lines)


def _list_settings(checkpoint: Manifest) -> list[tuple[str, str, str]]:
    overridden = checkpoint.details.get("overridden", {})
    return [
        (escape_markdown(name), _tell(value), "**for this run only**" if name in overridden else "")
        for name, value in checkpoint.settings.items()
    ]


def _tell_hardware(checkpoint: Manifest) -> str:
    told = checkpoint.details["training"]
    rate = f"{told['questions_per_second']:,.0f} questions/s"
    hardware = told.get("hardware", told["device"])  # older releases recorded the kind alone
    return f"{hardware}, {told['precision']}, {told['threads']} threads: {rate}."


def _list_packages(manifests: Iterable[Manifest | None]) -> str:
    packages: dict[str, str] = {}
    for manifest in manifests:
        packages |= manifest.packages if manifest else {}
    return ", ".join(f"{escape_markdown(name)} {escape_markdown(packages[name])}" for name in sorted(packages)) + "."


def _tell(value: Any) -> str:
    """A value as JSON has it, but for text."""
    return escape_markdown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _tell_count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else escape_markdown(value)


def _draw_table(header: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    names = list(header)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
