# SPDX-License-Identifier: GPL-3.0-or-later
"""From surfaces and maps to the head that ships: parts, keys, materials."""

from .head import HairPiece, Head, assemble, draw_shared

__all__ = ["HairPiece", "Head", "assemble", "draw_shared"]
