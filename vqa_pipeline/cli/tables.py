"""Aligned columns for the terminal. Text from data cannot move the cursor or change colours: it is escaped."""

from __future__ import annotations

from collections.abc import Sequence


def escape_control(text: object) -> str:
    """Text on one line, control characters written out."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in str(text))


def format_table(rows: Sequence[Sequence[object]], header: Sequence[str] = ()) -> str:
    """Rows in aligned columns; numbers to the right."""
    lines = [[escape_control(cell) for cell in row] for row in ([header, *rows] if header else rows)]
    if not lines:
        return ""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    numeric = [all(isinstance(row[column], int | float) for row in rows) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )
