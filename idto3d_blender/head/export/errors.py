# SPDX-License-Identifier: GPL-3.0-or-later
"""What an export says when it did not work. No bpy."""


class ExportError(Exception):
    """A stable code (E_EXPORT...), what is wrong, what to do."""

    def __init__(self, code: str, message: str, fix: str = "") -> None:
        super().__init__(" ".join(filter(None, (message, fix, f"({code})"))))
        self.code = code
        self.message = message
        self.fix = fix
