# SPDX-License-Identifier: GPL-3.0-or-later
"""The reader of takes: the backend's own (backend/idto3d_shared), see head/bundle.py. No bpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..head import bundle

if TYPE_CHECKING:
    from idto3d_shared.live_link import ANGLES, EYE_ANGLES, SHAPES, FaceTake, TakeError, read_take, take_of, write_take
else:
    assert bundle  # it loads the package
    from ..head.idto3d_shared.live_link import (
        ANGLES,
        EYE_ANGLES,
        SHAPES,
        FaceTake,
        TakeError,
        read_take,
        take_of,
        write_take,
    )

__all__ = ["ANGLES", "EYE_ANGLES", "SHAPES", "FaceTake", "TakeError", "read_take", "take_of", "write_take"]
