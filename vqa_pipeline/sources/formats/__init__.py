"""Source formats: one file each, settings beside the reader; the table at the foot is the only list of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vqa_pipeline.sources.formats.aokvqa import AOKVQA, AokVqaSource
from vqa_pipeline.sources.formats.clevr import CLEVR, ClevrSource
from vqa_pipeline.sources.formats.conversations import CONVERSATIONS, ConversationsSource
from vqa_pipeline.sources.formats.daquar import DAQUAR, DaquarSource
from vqa_pipeline.sources.formats.docvqa import DOCVQA, DocVqaSource
from vqa_pipeline.sources.formats.easy_vqa import EasyVqaFormat, EasyVqaSource
from vqa_pipeline.sources.formats.format import Format
from vqa_pipeline.sources.formats.fvqa import FVQA, FvqaSource
from vqa_pipeline.sources.formats.gqa import GQA, GqaSource
from vqa_pipeline.sources.formats.hf_parquet import HfParquetFormat, HfParquetSource
from vqa_pipeline.sources.formats.nlvr2 import NLVR2, Nlvr2Source
from vqa_pipeline.sources.formats.owleval import OWLEVAL, OwlEvalSource
from vqa_pipeline.sources.formats.pope import POPE, PopeSource
from vqa_pipeline.sources.formats.shapes import ShapesFormat, ShapesSource
from vqa_pipeline.sources.formats.slake import SLAKE, SlakeSource
from vqa_pipeline.sources.formats.snli_ve import SNLI_VE, SnliVeSource
from vqa_pipeline.sources.formats.table import TableFormat, TableSource
from vqa_pipeline.sources.formats.textvqa import TEXTVQA, TextVqaSource
from vqa_pipeline.sources.formats.tsv_base64 import TsvBase64Format, TsvBase64Source
from vqa_pipeline.sources.formats.visual_genome import VISUAL_GENOME, VisualGenomeSource
from vqa_pipeline.sources.formats.vizwiz import VIZWIZ, VizWizSource
from vqa_pipeline.sources.formats.vqa_med_2019 import VQA_MED_2019, VqaMed2019Source
from vqa_pipeline.sources.formats.vqa_rad import VQA_RAD, VqaRadSource
from vqa_pipeline.sources.formats.vqa_v2 import VqaV2Format, VqaV2Source
from vqa_pipeline.sources.formats.vsr import VSR, VsrSource
from vqa_pipeline.sources.formats.webdataset import WebDatasetFormat, WebDatasetSource
from vqa_pipeline.sources.settings import ChosenBy


def get_format(source: Source) -> Format:
    """The format of a source, by its name in the settings."""
    return FORMATS[source.format]


Source = Annotated[
    AokVqaSource
    | ClevrSource
    | ConversationsSource
    | DaquarSource
    | DocVqaSource
    | EasyVqaSource
    | FvqaSource
    | GqaSource
    | HfParquetSource
    | Nlvr2Source
    | OwlEvalSource
    | PopeSource
    | ShapesSource
    | SlakeSource
    | SnliVeSource
    | TableSource
    | TextVqaSource
    | TsvBase64Source
    | VisualGenomeSource
    | VizWizSource
    | VqaMed2019Source
    | VqaRadSource
    | VqaV2Source
    | VsrSource
    | WebDatasetSource,
    Field(discriminator="format"),
    ChosenBy("format"),
]

FORMATS: dict[str, Format] = {
    "aokvqa": AOKVQA,
    "clevr": CLEVR,
    "conversations": CONVERSATIONS,
    "daquar": DAQUAR,
    "docvqa": DOCVQA,
    "easy_vqa": EasyVqaFormat(),
    "fvqa": FVQA,
    "gqa": GQA,
    "hf_parquet": HfParquetFormat(),
    "nlvr2": NLVR2,
    "owleval": OWLEVAL,
    "pope": POPE,
    "shapes": ShapesFormat(),
    "slake": SLAKE,
    "snli_ve": SNLI_VE,
    "table": TableFormat(),
    "textvqa": TEXTVQA,
    "tsv_base64": TsvBase64Format(),
    "visual_genome": VISUAL_GENOME,
    "vizwiz": VIZWIZ,
    "vqa_med_2019": VQA_MED_2019,
    "vqa_rad": VQA_RAD,
    "vqa_v2": VqaV2Format(),
    "vsr": VSR,
    "webdataset": WebDatasetFormat(),
}
