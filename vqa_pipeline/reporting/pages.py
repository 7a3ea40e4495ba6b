"""HTML pages: what their templates share, and the page of a dataset. A page is one file and loads nothing.

Text from data is escaped for every page in one place: control characters by `finalize`, markup by autoescape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup, escape

from vqa_pipeline.reporting.escaping import escape_control
from vqa_pipeline.reporting.ledger import part_changes, sum_sources
from vqa_pipeline.reporting.statistics import list_counts, list_sources
from vqa_pipeline.schemas import SPLITS

_ROOM_TO_GROW = 1.05
_SHOWN_LEAKS = 50
_SHOWN_UNFIT = 20


@cache
def _open_templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vqa_pipeline.reporting"),
        autoescape=True,
        finalize=_make_visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": "{:,}".format, "score": "{:.3f}".format, "spans": _mark_code}
    return environment


def _make_visible(value: Any) -> Any:
    """Write out control characters, except in what templates made themselves."""
    return value if isinstance(value, Markup) else escape_control(value, keep="\n\t")


def _mark_code(text: str) -> Markup:
    """A message, escaped, with what stands between backticks as code."""
    pieces = [escape(escape_control(piece)) for piece in text.split("`")]
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(piece) if number % 2 else piece for number, piece in enumerate(pieces))


def render(template: str, **values: Any) -> str:
    """Fill a template; everything is escaped unless the template says that it is markup of our own."""
    return _open_templates().get_template(template).render(**values)


def render_dataset_page(
    facts: Mapping[str, Any],
    groups: Sequence[Mapping[str, Any]],
    failures: Sequence[str],
    pictures: Mapping[str, str] | None = None,
) -> str:
    """The page of a dataset version, or of a candidate that failed a gate.

    Args:
        facts: Numbers and details of the dataset's manifest, and `name`.
        groups: Rows that were not accepted, as `rejects.group_rejects` arranges them.
        failures: Messages of the blocking checks that failed; each names the setting that it is about.
        pictures: Data URIs of leaking images, by what identifies the image in `facts["leaks"]`.
    """
    corrections, repairs = part_changes(facts["repairs_by_kind"])
    return render(
        "dataset.html",
        facts=facts,
        failures=failures,
        advice=_advise(facts, failures),
        splits=SPLITS,
        sources=list_sources(facts["statistics"], facts["licenses"]),
        counted=list_counts(facts["statistics"]),
        changed=facts["repairs_by_kind"] or facts["alterations_by_kind"] or facts["unfit_corrections"],
        shown_unfit=_SHOWN_UNFIT,
        corrections=corrections,
        repairs=repairs,
        accounts=sum_sources(facts["ledger"]),
        leaks=facts["leaks"][:_SHOWN_LEAKS],
        num_leaks=facts["num_leaking_images"] + facts["num_leaking_groups"],
        pictures=pictures or {},
        groups=groups,
    )


def _advise(facts: Mapping[str, Any], failures: Sequence[str]) -> str:
    """The YAML lines that would let a failed candidate pass; empty where no setting would."""
    lines = []
    if any("max_reject_fraction" in failure for failure in failures):
        share = min(1.0, _ROOM_TO_GROW * facts["num_rejected"] / max(1, facts["num_rows"]))
        lines.append(f"  max_reject_fraction: {share:.3g}   # lets this share of rows be rejected")
    if any("leakage" in failure for failure in failures):
        lines += [
            "  leakage: drop_from_train   # leaves out the questions of the split nearer to training",
            "  # leakage: report          # or: keep them and only count; scores will be flattered",
        ]
    return "\n".join(["dataset:", *lines]) if lines else ""
