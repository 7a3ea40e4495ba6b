"""The stock classes of transformers that modeling uses, imported one by one, without banners and progress bars.

Importing `transformers.Vilt…` from the top builds far more than ViLT needs; so does importing the torchvision image
processor, which this project never uses: pixels must not depend on what else is installed.
"""

from __future__ import annotations

from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.bert.tokenization_bert import BertTokenizer
from transformers.models.vilt.configuration_vilt import ViltConfig
from transformers.models.vilt.image_processing_pil_vilt import ViltImageProcessorPil
from transformers.models.vilt.modeling_vilt import ViltForQuestionAnswering, ViltSelfAttention
from transformers.models.vilt.processing_vilt import ViltProcessor
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()

__all__ = [
    "BertTokenizer",
    "SequenceClassifierOutput",
    "ViltConfig",
    "ViltForQuestionAnswering",
    "ViltImageProcessorPil",
    "ViltProcessor",
    "ViltSelfAttention",
]
