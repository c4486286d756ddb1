# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user is told when something goes wrong: a stable code, what happened, what to do."""

from __future__ import annotations

import errno

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of an OSError that mean a full disk."""


class UserError(Exception):
    """An expected failure.

    code: stable identifier such as ``E_NO_FACE``; message: one sentence saying what happened;
    fix: one sentence saying what the user can do about it.
    """

    def __init__(self, code: str, message: str, fix: str = "") -> None:
        super().__init__(f"{code}: {message}" + (f" {fix}" if fix else ""))
        self.code = code
        self.message = message
        self.fix = fix


class Cancelled(Exception):
    """The user asked to stop; checkpoints are kept. resumable: whether there are any, where that is known."""

    def __init__(self, resumable: bool = False) -> None:
        super().__init__()
        self.resumable = resumable


def as_user_error(error: BaseException) -> UserError | None:
    """What a failure of the machine means to the user: E_DISK_FULL, E_OUT_OF_MEMORY; None for anything else."""
    seen: BaseException | None = error
    while seen is not None:  # an error says less than the one it was raised from
        text = str(seen)
        if (isinstance(seen, OSError) and seen.errno in FULL) or "(os error 28)" in text:  # the latter: safetensors
            return UserError("E_DISK_FULL", "The disk is full.", "Free some space, then resume.")
        # torch's own class is a RuntimeError, and on the CPU only its text tells
        if isinstance(seen, MemoryError) or type(seen).__name__ == "OutOfMemoryError" or "allocate memory" in text:
            return UserError(
                "E_OUT_OF_MEMORY",
                "There is not enough memory.",
                "Close other programs, or choose a lower quality or fewer expressions.",
            )
        seen = seen.__cause__
    return error if isinstance(error, UserError) else None
