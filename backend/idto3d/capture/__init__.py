# SPDX-License-Identifier: GPL-3.0-or-later
"""A video of a face to the table of its movements.

video ─► landmarks of every frame ─► who it is, and the lens ─► pose, expression and gaze of every frame ─► FaceTake
"""

from .run import capture

__all__ = ["capture"]
