"""What a dataset about to be published has otherwise than the current one: for its manifest, its page and a warning.

It depends on what was there before, so it goes into the manifest and never into a file: the same rows are the same
version, whatever came before them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from vqa_pipeline.errors import DamagedVersion
from vqa_pipeline.publishing import Work
from vqa_pipeline.store import Store, Version

if TYPE_CHECKING:
    from vqa_pipeline.curation.record_fields import Fields

_RECORDS = "records/"


def read_fields(inputs: Mapping[str, Version]) -> dict[str, Fields]:
    """The fields of each source's raw records, by source."""
    records = {name.removeprefix(_RECORDS): read for name, read in inputs.items() if name.startswith(_RECORDS)}
    return {source: version.manifest.details.get("fields", {}) for source, version in records.items()}


def tell_changes(store: Store, work: Work) -> None:
    """Compare a candidate with the current version, and warn where much is different."""
    from vqa_pipeline.curation.changes import COUNTED, compare_datasets, find_drift

    before = _find_before(store)
    if before is None:
        work.details["changes"] = None
        work.check("drift", [], num_before=0)
        return
    known = before.manifest.details.get("fields", {})
    fields = {name: (known[name], now) for name, now in work.details["fields"].items() if name in known}
    changes = compare_datasets(before.path, work.folder, before.manifest.version, fields)
    told: dict[str, float] = {name: changes.count(name) for name in COUNTED}
    told |= {"new_answer_fraction": changes.new_answer_fraction, "answer_shift": changes.answer_shift}
    work.details["changes"] = changes.model_dump(mode="json")
    work.numbers |= told
    work.check("drift", find_drift(changes), **told)


def _find_before(store: Store) -> Version | None:
    """The current version; None where there is none, or it is damaged and made again."""
    with suppress(DamagedVersion):
        return store.current_whole("dataset")
    return None
