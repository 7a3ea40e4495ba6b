"""The official answer normalization: the one spelling under which two answers count as the same.

It reproduces what the official evaluator does, oddities included, because published scores contain them. The oddities
are named below where they happen; none of them may be mended here. Everything is a pure function of one string.

Source: GT-Vision-Lab/VQA at a013f00, `PythonEvaluationTools/vqaEvaluation/vqaEval.py`, as it behaves under Python 3.
"""

from __future__ import annotations

import re
from functools import lru_cache

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
"""Marks that are taken out. Apostrophe, colon, `%`, `$`, `&`, `.` and everything beyond ASCII are not among them."""

_COMMA_IN_NUMBER = re.compile(r"\d,\d")

_LOOSE_PERIOD = re.compile(r"\.(?!\d)")
"""A period that no digit follows. The original meant to spare periods after digits too, but its look-behind is
mistyped and always holds, so "3." becomes "3" and "1.a" becomes "1a"."""

_MAX_LOOSE_PERIODS = 32
"""The original passes a regex flag, whose value is 32, where the number of replacements belongs."""

_NUMBERS = "zero one two three four five six seven eight nine ten"
_DIGITS = {"none": "0"} | {word: str(number) for number, word in enumerate(_NUMBERS.split())}
"""Number words up to ten. "none" counts as zero, in every sense of the word (GT-Vision-Lab/VQA#7)."""

_ARTICLES = frozenset({"a", "an", "the"})
"""Dropped wherever they stand alone, so the answer "a" becomes empty."""

_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't
    he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've must've mustn't
    needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've
    somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's
    something'd something'd've something'll that's there'd there'd've there're there's
    they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
    where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've
    y'all y'all'd've y'all'll you'd you'd've you'll you're you've
"""
"""Contractions that are recognized when exactly one of their apostrophes is missing. Others, such as "it's", "she'd" or
"we're", are not; nor are "im", "ive" and "id've", which the original lists with a capital I that never reaches it."""


def _drop_each_apostrophe(word: str) -> list[str]:
    return [word[:place] + word[place + 1 :] for place, letter in enumerate(word) if letter == "'"]


_CONTRACTIONS = {typed: word for word in _CONTRACTED.split() for typed in _drop_each_apostrophe(word)}
_CONTRACTIONS["somebody'd"] = "somebodyd"  # the one entry of the original that is the wrong way round


def tidy(text: str) -> str:
    """The answer with newlines and tabs as blanks and no blanks at its ends: done before anything is compared."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def normalize_punctuation(text: str) -> str:
    """The text without marks and without periods that no digit follows; it keeps its case and its blanks.

    A mark becomes a blank, except that it vanishes, at every place, if it touches a blank at any place: "t-shirt" gives
    "t shirt" but "t-shirt -" gives "tshirt ". A comma between digits anywhere makes all marks vanish: "1,2 a-b" gives
    "12 ab".
    """
    glued = _COMMA_IN_NUMBER.search(text) is not None
    normalized = text
    for mark in _MARKS:
        if mark in text:
            vanishes = glued or f"{mark} " in text or f" {mark}" in text
            normalized = normalized.replace(mark, "" if vanishes else " ")
    return _LOOSE_PERIOD.sub("", normalized, count=_MAX_LOOSE_PERIODS)


def normalize_words(text: str) -> str:
    """The words in lower case, one blank apart: no articles, numbers as digits, contractions with their apostrophe."""
    words = (_DIGITS.get(word, word) for word in text.lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


@lru_cache(maxsize=1 << 16)
def normalize(text: str) -> str:
    """The answer as the official evaluator compares it.

    Apply it once to a raw answer: a second time may change it again (33 periods lose 32, then the last). The result may
    be empty: "a", "the", "..." and "?" normalize to "".
    """
    return normalize_words(normalize_punctuation(tidy(text)))
