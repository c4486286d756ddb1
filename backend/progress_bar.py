# SPDX-License-Identifier: GPL-3.0-or-later
"""Stage, share done and time left in a terminal, or as plain lines where there is none. Standard library only."""

from __future__ import annotations

import shutil
import sys


def clock(seconds: float) -> str:
    """75 -> '1:15', 3700 -> '1:01:40'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def format_bar(stage: str, step: int, steps: int, eta_seconds: float | None, glyphs: str = "█░") -> str:
    """One line: stage, bar, share done, steps, time left if known. steps <= 0 means that their number is unknown."""
    done = min(max(step / steps, 0.0), 1.0) if steps > 0 else 0.0
    cells = 24
    filled = int(done * cells)
    left = "" if eta_seconds is None else f"  {clock(eta_seconds)} left"
    return f"{stage:<22} {glyphs[0] * filled}{glyphs[1] * (cells - filled)} {done:4.0%}  {step}/{steps}{left}"


class Progress:
    """A bar that redraws itself on a terminal; elsewhere a plain line per stage and tenth."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self.glyphs = "█░" if "utf" in (sys.stdout.encoding or "").lower() else "#-"
        self.last: tuple[str, int] | None = None

    def update(self, stage: str, step: int, steps: int, eta_seconds: float | None = None) -> None:
        line = format_bar(stage, step, steps, eta_seconds, glyphs=self.glyphs)
        tenth = (stage, 10 * step // steps if steps > 0 else 0)
        if self.live:
            print(f"\r{line[: shutil.get_terminal_size().columns - 1]}\x1b[K", end="", flush=True)
        elif tenth != self.last:
            print(line, flush=True)
        self.last = tenth

    def say(self, *lines: str) -> None:
        """Leave the bar, if one is drawn, and print below it."""
        if self.live and self.last:
            print()
        self.last = None
        print(*lines, sep="\n", end="\n" if lines else "", flush=True)
