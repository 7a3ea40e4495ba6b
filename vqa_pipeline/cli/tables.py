"""Aligned columns for the terminal. Text from data cannot move the cursor or change colours: it is escaped."""

from __future__ import annotations

from collections.abc import Sequence

from vqa_pipeline.reporting.escaping import escape_control


def format_table(rows: Sequence[Sequence[object]], header: Sequence[str] = ()) -> str:
    """Rows in aligned columns, a line each; numbers to the right."""
    lines = [[escape_control(cell) for cell in row] for row in ([header, *rows] if header else rows)]
    if not lines:
        return ""
    columns = range(len(lines[0]))
    widths = [max(len(line[column]) for line in lines) for column in columns]
    numeric = [all(isinstance(row[column], int | float) for row in rows) for column in columns]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )
