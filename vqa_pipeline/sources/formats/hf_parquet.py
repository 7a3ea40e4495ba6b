"""`hf_parquet`: Parquet files with the images inside, as the `datasets` library writes them.

An image is a struct of `bytes` and `path`, a struct of `bytes` alone, or a plain binary column; where bytes are null,
or the column holds texts, the path is looked for in `image_root`. Numbers that the schema's `huggingface` key declares
as class labels are read as the labels' names; -1 is no label.

    - name: radiology
      format: hf_parquet
      files: raw/radiology/data/*.parquet    # train-00000-of-00002.parquet: the split is in the name
      columns: {question: question, answers: answer}

Source: https://huggingface.co/docs/datasets/about_dataset_features
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import Field

from vqa_pipeline.errors import SourceError
from vqa_pipeline.schemas import Locator, RawRecord
from vqa_pipeline.sources.containers import open_content
from vqa_pipeline.sources.formats.embedded import (
    FILE_SPLITS,
    build_parser,
    build_record,
    guess_settings,
    take_image,
)
from vqa_pipeline.sources.formats.files import (
    Paths,
    declare_splits,
    find_base,
    find_image_root,
    find_paths,
    name_file,
    reading,
)
from vqa_pipeline.sources.formats.format import Parser, Recognition, Sample
from vqa_pipeline.sources.formats.rows import Columns, find_column_problem, name_columns
from vqa_pipeline.sources.settings import SourcePath, SourceSettings, Splits

_BATCH_ROWS = 8
"""Rows in memory at once, images included."""

_BUFFER = 1 << 20
_BYTES = re.compile(r"^(large_)?binary|\bbytes: (large_)?binary")
"""In the name that Arrow gives the type of a column."""


class HfParquetSource(SourceSettings):
    """Parquet files with the images inside, as the `datasets` library writes them."""

    format: Literal["hf_parquet"] = Field(description="Kind of source: hf_parquet.")
    files: Paths = Field(description="Files or globs, relative to the project.")
    image_root: SourcePath | None = Field(
        None, description="Folder, or zip or tar archive, of images that a row names instead of holding."
    )
    columns: Columns = Field(Columns(), description="Which column holds what.")
    answer_separator: str | None = Field(
        None, min_length=1, description="Splits one text into several answers, such as `;`."
    )
    splits: Splits = Field("declared", description=FILE_SPLITS)


class HfParquetFormat:
    """Rows of Parquet files, each with its image."""

    def find_files(self, settings: HfParquetSource, root: Path) -> list[Path]:
        """The files that `files` names."""
        return find_paths(settings.name, "files", settings.files, root, without=settings.corrections)

    def find_image_root(self, settings: HfParquetSource, root: Path) -> Path | None:
        """The folder or archive that `image_root` names."""
        return find_image_root(settings.name, settings.image_root, root)

    def read(self, settings: HfParquetSource, root: Path, most: int | None = None) -> Iterator[RawRecord]:
        """Every row of every file; only the columns that the settings name are read."""
        paths = self.find_files(settings, root)
        base = find_base(paths, self.find_image_root(settings, root))
        for path in paths:
            with reading(settings.name, "files", path), open_content(path) as file:
                yield from islice(_read_file(settings, file, path, name_file(path, base)), most)

    def build_parser(self, settings: HfParquetSource, root: Path) -> Parser:
        """The function from a row to its fields."""
        files = self.find_files(settings, root)
        declared = declare_splits(settings.splits, files, self.find_image_root(settings, root), root)
        arrange = partial(take_image, column=settings.columns.image)
        return build_parser(settings.columns, settings.splits, settings.answer_separator, declared, arrange)

    def recognize(self, sample: Sample) -> Recognition | None:
        """Parquet with a question and bytes, which are taken to be an image's."""
        if sample.layout != "parquet":
            return None
        held = [column for column, kind in sample.fields.items() if _BYTES.search(str(kind))]
        settings = guess_settings(sample.records, "image" if "image" in held else held[0]) if held else None
        return Recognition(0.95, {"files": sample.name, **settings}) if settings else None


def _read_file(settings: HfParquetSource, file: BinaryIO, path: Path, name: str) -> Iterator[RawRecord]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False) as parquet:
            schema = parquet.schema_arrow
            named = name_columns(settings.columns, settings.splits)
            problem = find_column_problem(named, schema.names)
            if problem:
                raise SourceError(settings.name, "columns", path, problem, "Correct the mapping in `columns`.")
            labels = _read_labels(settings, path, schema.metadata)
            number = 0
            for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, columns=named):
                for row in batch.to_pylist():
                    fields = {column: _name_labels(value, labels.get(column)) for column, value in row.items()}
                    yield build_record(fields, settings.columns.image, Locator(name, number))
                    number += 1
    except pa.ArrowException as error:
        reason = f"is damaged, or no Parquet ({error})"
        raise SourceError(settings.name, "files", path, reason, "Write or download it again.") from error


# ------------------------------------------------------------------------------------------------------- class labels


def _read_labels(settings: HfParquetSource, path: Path, metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """The names of class labels by column, from the schema's `huggingface` key."""
    try:
        told = json.loads((metadata or {}).get(b"huggingface", b"{}"))
        features = told.get("info", {}).get("features", {})
        found = {column: _find_names(feature) for column, feature in features.items()}
    except (AttributeError, ValueError) as error:
        reason = f"its schema's `huggingface` key is not what `datasets` writes ({error})"
        raise SourceError(settings.name, "files", path, reason, "Write it again with `datasets`.") from error
    return {column: names for column, names in found.items() if names}


def _find_names(feature: Any) -> list[str]:
    """A class label's names, also of a list of them: `{"feature": …}`, or `[…]` as older versions write it."""
    if isinstance(feature, list) and len(feature) == 1:
        return _find_names(feature[0])
    if not isinstance(feature, dict):
        return []
    if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list):
        return [str(name) for name in feature["names"]]
    return _find_names(feature["feature"]) if "feature" in feature else []


def _name_labels(value: Any, names: list[str] | None) -> Any:
    """A label's name instead of its number; a number that has no name becomes what no field may be."""
    if names is None:
        return value
    if isinstance(value, list):
        return [_name_labels(one, names) for one in value]
    if not isinstance(value, int) or value == -1:
        return None if value == -1 else value
    return names[value] if 0 <= value < len(names) else {"label": value, "num_labels": len(names)}
