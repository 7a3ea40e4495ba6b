"""Which split a question belongs to. Pure functions of the image's identity: nothing ever moves.

A declared split is kept. An undeclared one depends on the image alone: its questions share it, and new
images move no old ones. A split that no question has is carved from train by image.
"""

from __future__ import annotations

import hashlib

from vqa_pipeline.curation.settings import SplitFractions
from vqa_pipeline.schemas import Split

_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


def parse_split(word: str) -> Split | None:
    """The split that a source's own word means, whatever its case; None when it means none."""
    return _WORDS.get(word.strip().lower())


def assign_split(image: str, fractions: SplitFractions) -> Split:
    """The split of an image whose questions declare none.

    Args:
        image: The image's identity: its sha256, or its reference where there is no image.
        fractions: Shares of images.
    """
    position = _place(f"assign:{image}")
    if position < fractions.test:
        return "test"
    return "val" if position < fractions.test + fractions.val else "train"


def carve_split(image: str, fractions: SplitFractions, missing: frozenset[Split]) -> Split:
    """The split of a training image when val or test, or both, are missing and carved from train."""
    if not missing:
        return "train"
    position = _place(f"carve:{image}")
    end = 0.0
    for split, fraction in (("test", fractions.test), ("val", fractions.val)):
        if split in missing:
            end += fraction
            if position < end:
                return "test" if split == "test" else "val"
    return "train"


def _place(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
