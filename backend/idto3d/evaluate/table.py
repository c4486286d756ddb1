# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured against what was promised, as a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """value: None where it was not measured; bound: at most this; goal: better still; note: what else must be said."""

    name: str
    value: float | None
    bound: float
    goal: float | None = None
    unit: str = ""
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.value is None or math.isnan(self.value):
            return "not measured"
        if self.value > self.bound:
            return "FAIL"
        return "goal" if self.goal is not None and self.value <= self.goal else "pass"


def print_table(rows: Sequence[Row]) -> str:
    """The rows as text, one a line: verdict, name, value, bound and goal, note."""
    head = ("verdict", "measure", "value", "at most", "goal", "note")
    cells = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[n]) for line in cells) for n in range(len(head) - 1)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]) for line in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    value = "-" if row.verdict == "not measured" else f"{_number(row.value)} {row.unit}".strip()
    return row.verdict, row.name, value, _number(row.bound), _number(row.goal), row.note


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
