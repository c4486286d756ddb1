# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error of the bundle's reader."""

from __future__ import annotations

AGAIN = "Generate the head again, or copy the whole folder again."


class BundleError(Exception):
    """A bundle that cannot be used: a stable code (E_BUNDLE_...), what is wrong, what to do."""

    def __init__(self, code: str, message: str, fix: str = AGAIN) -> None:
        super().__init__(f"{code}: {message} {fix}")
        self.code = code
        self.message = message
        self.fix = fix
