"""A checkpoint that answers questions about images one by one, in this process, as predictions would.

Images become pixels by the same functions as in training, text by the same tokenizer, confidence by the checkpoint's
own calibration; so the answer to a question is the one that the predictions file has. Imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import torch
from PIL import Image, ImageOps

from vqa_pipeline.modeling.batches import Batch, choose_text_length
from vqa_pipeline.modeling.checkpoint import load_checkpoint
from vqa_pipeline.modeling.devices import choose_placement
from vqa_pipeline.modeling.forward import compute_logits
from vqa_pipeline.modeling.pixels import read_pixel_rules
from vqa_pipeline.modeling.questions import tokenize
from vqa_pipeline.sources.image_limits import MAX_PIXELS, exceed
from vqa_pipeline.sources.images import ImageError, decode_image
from vqa_pipeline.sources.rgb import convert_to_rgb

ImageLike = str | Path | bytes | Image.Image
"""A file's path, a file's bytes, or an image that is open already."""


class TopAnswer(NamedTuple):
    """One of the best answers."""

    answer: str
    score: float
    """Sigmoid of its logit, in [0, 1]."""
    probability: float
    """Calibrated probability that it is right, in [0, 1]."""


class Response(NamedTuple):
    """What a model says to a question."""

    answer: str
    probability: float
    """Calibrated probability that the answer is right, in [0, 1]."""
    abstains: bool
    """Whether that is below the model's threshold: it would rather not answer."""
    top: tuple[TopAnswer, ...]
    """The best answers, the best first."""


class Answerer:
    """A checkpoint ready to answer."""

    def __init__(self, folder: Path, device: Literal["auto", "cpu", "cuda"] = "auto") -> None:
        """Load a checkpoint.

        Args:
            folder: A published or deployed checkpoint.
            device: Where it computes.

        Raises:
            BackboneError: the folder is not a checkpoint.
            VocabularyMismatch: its weights and vocabulary do not belong together.
            SettingsError: there is no such device.
        """
        self.folder = folder
        self._checkpoint = load_checkpoint(folder)
        config = self._checkpoint.model.config
        self._placement = choose_placement(device, "auto", config.hidden_size)
        self._model = self._checkpoint.model.to(self._placement.device).eval()
        self._max_tokens = config.max_position_embeddings
        self._rules = read_pixel_rules(self._checkpoint.processor.image_processor)

    def answer(self, image: ImageLike, question: str, top: int = 5) -> Response:
        """The answer to a question about an image.

        A question longer than the model can read loses its end.

        Args:
            image: A file's path, a file's bytes, or a Pillow image.
            question: In words.
            top: How many of the best answers to tell, at least 1.

        Raises:
            ValueError: the question is empty, `top` is below 1, or (`sources.images.ImageError`) the image cannot be
                used.
            OSError: the file cannot be read.
        """
        if not question.strip():
            raise ValueError("the question is empty")
        if top < 1:
            raise ValueError(f"top is {top}, but at least 1 answer is told")
        with torch.inference_mode():
            logits = compute_logits(self._model, self._prepare(image, question), self._placement)[0].cpu()
        best = logits.sort(descending=True, stable=True)
        highest = best.values[:top]
        told = tuple(
            TopAnswer(self._checkpoint.vocabulary.answers[index], score, probability)
            for index, score, probability in zip(
                best.indices[:top].tolist(),
                highest.sigmoid().tolist(),
                self._checkpoint.calibration.apply(highest.double().numpy()).tolist(),
                strict=True,
            )
        )
        sure = told[0].probability
        return Response(told[0].answer, sure, sure < self._checkpoint.calibration.abstain_threshold, told)

    def _prepare(self, image: ImageLike, question: str) -> Batch:
        device = self._placement.device
        resized = torch.from_numpy(self._rules.resize(_to_rgb(image)))[None].to(device)
        tokenized = tokenize([question], self._checkpoint.processor.tokenizer, self._max_tokens)
        ids = tokenized.input_ids[0]
        width = choose_text_length(len(ids), self._max_tokens)
        padded = torch.full((1, width), tokenized.pad_id, dtype=torch.int64)
        padded[0, : len(ids)] = torch.as_tensor(ids, dtype=torch.int64)
        mask = None if len(ids) == width else (torch.arange(width) < len(ids))[None].long().to(device)
        return Batch(padded.to(device), mask, self._rules.normalize(resized))


def _to_rgb(image: ImageLike) -> Image.Image:
    if isinstance(image, Image.Image):
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(*exceed(f"it has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}"))
        return convert_to_rgb(ImageOps.exif_transpose(image)).image
    return decode_image(image if isinstance(image, bytes) else Path(image).read_bytes()).rgb
