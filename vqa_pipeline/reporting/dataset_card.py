"""README.md of a dataset: the front matter that Hugging Face's `load_dataset` reads, and the page of the asset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vqa_pipeline.reporting.cards import dataset_markdown
from vqa_pipeline.schemas import SPLITS

_DEFAULT_CONFIG = "questions"

_DATASET_FILES = (
    "Questions are in `questions/<split>-*.parquet`, facts about their images in `images.parquet`, the images' own "
    "bytes in packs that versions share; `image_sha256` joins them. What was not accepted is in `rejects/`: rule, "
    "reason, suggested fix, place and raw payload. `ledger.json` accounts for every raw row."
)

_JOINED_FILES = (
    "One row per question in `data/<split>-*.parquet`, with the original bytes of its image in `image`: "
    "`datasets.load_dataset` shows them as images. `locator` says where the row came from."
)


def dataset_card(facts: Mapping[str, Any]) -> str:
    """README.md of a dataset version, with the front matter that Hugging Face's `load_dataset` reads.

    Its paths are relative to the version's folder; image packs lie beside the versions that share them.
    """
    configs = [
        *_declare_files(_DEFAULT_CONFIG, {split: f"questions/{split}-*.parquet" for split in _list_filled(facts)}),
        *_declare_files("images", {"train": [f"../../{pack}" for pack in facts["image_packs"]]}),
    ]
    return _draw_card(facts, configs, _DATASET_FILES)


def joined_card(facts: Mapping[str, Any], splits: Sequence[str]) -> str:
    """README.md of an exported dataset, whose questions have their images beside them."""
    configs = _declare_files(_DEFAULT_CONFIG, {split: f"data/{split}-*.parquet" for split in splits})
    return _draw_card(facts, configs, _JOINED_FILES)


def _draw_card(facts: Mapping[str, Any], configs: Sequence[str], files: str) -> str:
    front = ["---", "configs:", *configs, "---"]
    return "\n".join([*front, "", f"# {facts['name']}", "", files, "", dataset_markdown(facts), ""])


def _list_filled(facts: Mapping[str, Any]) -> list[str]:
    return [split for split in SPLITS if facts["num_questions_by_split"][split]]


def _declare_files(config: str, files: Mapping[str, str | Sequence[str]]) -> list[str]:
    """A config of the front matter: files by split; nothing where there are none."""
    declared = {split: [paths] if isinstance(paths, str) else paths for split, paths in files.items() if paths}
    if not declared:
        return []
    lines = [f"- config_name: {config}", f"  default: {str(config == _DEFAULT_CONFIG).lower()}", "  data_files:"]
    for split, paths in declared.items():
        lines += [f"  - split: {split}", "    path:", *(f"    - {path}" for path in paths)]
    return lines
