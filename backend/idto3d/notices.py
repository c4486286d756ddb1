# SPDX-License-Identifier: GPL-3.0-or-later
"""Warnings: what was left out, or done otherwise than asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from .clock import Events


@dataclass(frozen=True)
class Notice:
    """Something the user should know that stops nothing. code: stable, such as ``W_SEVERAL_FACES``."""

    code: str
    message: str


def warn(events: Events, notices: Sequence[Notice]) -> None:
    """Tell of them, and go on."""
    for notice in notices:
        events({"type": "warning", "code": notice.code, "message": notice.message})
