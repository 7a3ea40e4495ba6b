"""What formats share whose files hold the images themselves.

The image travels beside its record (`RawRecord.image`); in the payload, what describes it stands for its bytes:
`{"sha256", "num_bytes", "path"}`. Its sha256 is the image reference. Pure functions; nothing is decoded here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vqa_pipeline.schemas import EmbeddedImage, Locator, QuestionFields, RawRecord, Split
from vqa_pipeline.sources.columns import guess_columns, guess_split_column
from vqa_pipeline.sources.formats.format import MalformedRecord
from vqa_pipeline.sources.formats.rows import Columns, Row, build_row_parser
from vqa_pipeline.sources.settings import SplitColumn, Splits

FILE_SPLITS = (
    "declared (the name of a file or of its folder, such as train-00000-of-00002 or validation/0000; by image where "
    "neither names a split), by_image, {column: NAME}, {list: FILES}, train, val or test."
)


def build_record(row: Row, column: str, locator: Locator) -> RawRecord:
    """A row as a raw record, with the image that `column` holds.

    The image is bytes, `{"bytes", "path"}` with either null, a text (a path), or a list of one of these; anything else
    stays in the payload, for the parser to refuse.
    """
    value = row[column]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    held: Any = {"bytes": value, "path": None} if isinstance(value, bytes) else value
    if not isinstance(held, Mapping) or "bytes" not in held:
        return RawRecord("question", encode_row({**row, column: value}), locator)
    data, path = held["bytes"], held.get("path")
    if not isinstance(data, bytes):
        return RawRecord("question", encode_row({**row, column: path}), locator)
    image = EmbeddedImage(hashlib.sha256(data).hexdigest(), data, path)
    return RawRecord("question", encode_row({**row, column: describe_image(image)}), locator, image)


def describe_image(image: EmbeddedImage) -> dict[str, str | int | None]:
    """What stands for an image in the payload."""
    return {"sha256": image.sha256, "num_bytes": len(image.data), "path": image.path}


def encode_row(row: Row | Sequence[str]) -> bytes:
    """A row, or its bare cells, as JSON; what JSON cannot hold (bytes, dates) becomes what no field may be."""
    text = json.dumps(row, ensure_ascii=False, default=lambda value: {"unreadable": type(value).__name__})
    return text.encode("utf-8", "surrogateescape")  # names that are no UTF-8 cost their row


def take_image(row: Row, column: str) -> Row:
    """The row with its image's reference in place of what describes the image; a path stays what it is.

    Raises:
        MalformedRecord: the row has no image, or several.
    """
    value = row.get(column)
    if isinstance(value, Mapping) and isinstance(value.get("sha256"), str):
        return {**row, column: value["sha256"]}
    if value is None:
        raise MalformedRecord("image_path_empty", f"`{column}` holds no image", "Bring the image, or remove the row.")
    if isinstance(value, list):
        reason = f"`{column}` holds {len(value)} images, but a question is about one"
        raise MalformedRecord("images_several", reason, "Split the row, or keep the image that is asked about.")
    return row


def build_parser(
    columns: Columns,
    splits: Splits,
    answer_separator: str | None,
    declared: Mapping[str, Split | None],
    arrange: Callable[[Row], Row],
) -> Callable[[RawRecord], QuestionFields]:
    """The function from a row to its fields; `declared` gives the split of each file by its name in locators."""
    parse_row = build_row_parser(columns, splits, answer_separator, arrange)

    def parse(raw: RawRecord) -> QuestionFields:
        fields = parse_row(raw)
        if not isinstance(splits, SplitColumn):
            fields["split"] = declared.get(raw.locator.file)
        return fields

    return parse


def guess_settings(rows: Sequence[Row], image: str) -> dict[str, Any] | None:
    """What holds question, answers and so on beside the image; None: no column holds a question."""
    others = [{column: value for column, value in row.items() if column != image} for row in rows]
    columns = {"answers": None, **guess_columns(others), "image": image}
    if "question" not in columns:
        return None
    column = guess_split_column(others)
    return {"columns": columns, **({"splits": {"column": column}} if column else {})}
