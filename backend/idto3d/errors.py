# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that end a job: for the user to read, or because they cancelled it."""

import errno
import re
import sys

from idto3d_shared.errors import UserError

__all__ = ["FULL", "PACK_AGAIN", "Cancelled", "UserError", "as_user_error"]

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of an OSError that mean a full disk, or a quota that is used up."""
_FULL_IN_RUST = FULL if sys.platform != "win32" else (*FULL, 39, 112)
"""Numbers that safetensors names in words, as "(os error 28)"; those of Windows mean something else elsewhere."""
_NO_MEMORY = ("allocate memory", "out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
"""What torch on a CPU, CUDA, cuBLAS and cuDNN say where they find no memory and the error's class does not tell."""

PACK_AGAIN = "Download the pack again; the starter pack comes with the extension: install that again."


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
        in_rust = re.search(r"\(os error (\d+)\)", text)
        full = in_rust is not None and int(in_rust[1]) in _FULL_IN_RUST
        if full or (isinstance(seen, OSError) and seen.errno in FULL):
            return UserError("E_DISK_FULL", "The disk is full.", "Free some space, then resume.")
        told = isinstance(seen, MemoryError) or type(seen).__name__ == "OutOfMemoryError"  # the latter: torch's
        if told or any(words in text for words in _NO_MEMORY):
            return UserError(
                "E_OUT_OF_MEMORY",
                "There is not enough memory.",
                "Close other programs, or choose a lower quality, fewer photos or fewer expressions.",
            )
        if isinstance(seen, ImportError):
            message = f"The backend's environment is incomplete: {text}."
            return UserError("E_SETUP", message, "Repair the set-up.")
        seen = seen.__cause__
    return error if isinstance(error, UserError) else None
