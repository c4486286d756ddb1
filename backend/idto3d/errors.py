# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that end a job: for the user to read, or because they cancelled it."""

import errno

from idto3d_shared.errors import UserError

__all__ = ["FULL", "Cancelled", "UserError", "as_user_error"]

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of an OSError that mean a full disk."""


class Cancelled(BaseException):
    """The user asked to stop; checkpoints are kept. resumable: whether there are any, where that is known.

    No Exception, as it may be raised anywhere: what catches the errors of decoders and nets has to let it through.
    """

    def __init__(self, resumable: bool = False) -> None:
        super().__init__()
        self.resumable = resumable


def as_user_error(error: BaseException) -> UserError | None:
    """An exception as the user's error: E_DISK_FULL, E_OUT_OF_MEMORY, E_SETUP, itself if it is one; None for others."""
    seen: BaseException | None = error
    while seen is not None:  # also the causes that it was raised from
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
        if isinstance(seen, ImportError):
            message = f"The backend's environment is incomplete: {text}."
            return UserError("E_SETUP", message, "Repair the set-up.")
        seen = seen.__cause__
    return error if isinstance(error, UserError) else None
