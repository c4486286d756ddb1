# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons that say why they are greyed out."""

from collections.abc import Iterator
from typing import Any

OBJECT_MODE = "Leave the edit, sculpt or paint mode first"


class ExplainedPoll:
    """Mixed into an operator: it can be used unless there is a reason why not, and its tooltip says the first one."""

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        """Yields reasons; code after one runs only where that one does not hold."""
        raise NotImplementedError

    @classmethod
    def poll(cls: Any, context: Any) -> bool:
        for reason in cls.why_not(context):
            cls.poll_message_set(reason)
            return False
        return True
