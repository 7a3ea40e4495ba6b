"""A WordPiece tokenizer made from questions: their words, and their characters for words not seen before.

Deterministic, unlike a trainer that merges: words by count, then alphabetically. No question it was made from contains
[UNK], and any word spelled with known characters can be told from others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from vqa_pipeline.modeling.stock import BertTokenizer

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_WORDS = 30_000
"""About as many as BERT has; the rarest words beyond are spelled out."""


def build_tokenizer(questions: Iterable[str], max_tokens: int, max_words: int = MAX_WORDS) -> Any:
    """A lower-casing BERT tokenizer for these questions; `max_tokens` is written into its configuration."""
    words = _count_words(questions)
    characters = sorted({character for word in words for character in word})
    frequent = sorted(words, key=lambda word: (-words[word], word))[:max_words]
    pieces = [*SPECIAL_TOKENS, *characters, *(f"##{character}" for character in characters), *frequent]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=max_tokens)


def _count_words(questions: Iterable[str]) -> Counter[str]:
    normalizer, splitter = BertNormalizer(lowercase=True), BertPreTokenizer()
    words: Counter[str] = Counter()
    for question, count in Counter(questions).items():
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(question)):
            words[word] += count
    return words
