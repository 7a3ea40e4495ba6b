"""Text from data, made safe to show in a terminal or in markdown; in HTML the templates escape it.

Nothing that a record says may move a cursor, change a colour, turn the reading direction or become markup.
"""

from __future__ import annotations

import re
import unicodedata

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Unicode categories that act instead of showing: controls, formats (direction marks), surrogates, separators."""

_JOINERS = "\u200c\u200d"
"""Two formats that many scripts and emoji cannot be written without; they act on their neighbours only."""

_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~>@:.-])")
_BLANKS = re.compile(r"\s+")


def escape_control(text: object, keep: str = "") -> str:
    """The text with every unseen character written out, as Python would write it; those in `keep` stay."""
    given = str(text)
    if given.isprintable():
        return given
    return "".join(
        character.encode("unicode_escape").decode() if _is_unseen(character) and character not in keep else character
        for character in given
    )


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in _UNSEEN and character not in _JOINERS


def escape_markdown(text: object) -> str:
    """The text on one line, as markdown shows it literally: no markup, no HTML, no link, no border of a table."""
    line = escape_control(_BLANKS.sub(" ", str(text)).strip())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return _MARKUP.sub(r"\\\1", line)


def shorten(text: str, length: int) -> str:
    """At most `length` characters, the last of them an ellipsis where something was cut."""
    return text if len(text) <= length else text[: length - 1] + "…"
