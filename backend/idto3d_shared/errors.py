# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user is told when something goes wrong: a stable code, what happened, what to do."""

from __future__ import annotations

AGAIN = "Generate the head again, or copy the whole folder again."


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


class BundleError(UserError):
    """A bundle that cannot be used (E_BUNDLE_...)."""

    def __init__(self, code: str, message: str, fix: str = AGAIN) -> None:
        super().__init__(code, message, fix)
