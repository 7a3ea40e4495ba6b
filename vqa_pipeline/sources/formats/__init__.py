"""Source formats: one file each, settings beside the reader; the table at the foot is the only list of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vqa_pipeline.sources.formats.easy_vqa import EasyVqaFormat, EasyVqaSource
from vqa_pipeline.sources.formats.format import Format
from vqa_pipeline.sources.formats.hf_parquet import HfParquetFormat, HfParquetSource
from vqa_pipeline.sources.formats.shapes import ShapesFormat, ShapesSource
from vqa_pipeline.sources.formats.table import TableFormat, TableSource
from vqa_pipeline.sources.formats.tsv_base64 import TsvBase64Format, TsvBase64Source
from vqa_pipeline.sources.formats.vqa_v2 import VqaV2Format, VqaV2Source
from vqa_pipeline.sources.formats.webdataset import WebDatasetFormat, WebDatasetSource
from vqa_pipeline.sources.settings import ChosenBy


def get_format(source: Source) -> Format:
    """The format of a source, by its name in the settings."""
    return FORMATS[source.format]


Source = Annotated[
    EasyVqaSource | HfParquetSource | ShapesSource | TableSource | TsvBase64Source | VqaV2Source | WebDatasetSource,
    Field(discriminator="format"),
    ChosenBy("format"),
]

FORMATS: dict[str, Format] = {
    "easy_vqa": EasyVqaFormat(),
    "hf_parquet": HfParquetFormat(),
    "shapes": ShapesFormat(),
    "table": TableFormat(),
    "tsv_base64": TsvBase64Format(),
    "vqa_v2": VqaV2Format(),
    "webdataset": WebDatasetFormat(),
}
