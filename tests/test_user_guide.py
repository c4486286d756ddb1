# SPDX-License-Identifier: GPL-3.0-or-later
"""The user guide names every error code that there is and no other; its pictures are there and small. No Blender."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "user-guide.md"


def test_every_error_code_is_explained() -> None:
    folders = [ROOT / "backend", ROOT / "idto3d_blender"]
    sources = "\n".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.py"))
    # Whole codes as strings or at the end of a message, not the kinds that the remedies are looked up by.
    kinds = {"E_PHOTO", "E_FACE", "E_FIT", "E_PACK", "E_BUNDLE"}
    raised = set(re.findall(r"[\"(](E_[A-Z_]*[A-Z])[\")]", sources)) - kinds
    explained = set(re.findall(r"\bE_[A-Z_]*[A-Z]\b", GUIDE.read_text(encoding="utf-8")))
    assert len(raised) > 40
    assert explained == raised


def test_pictures() -> None:
    shown = set(re.findall(r"\]\((pictures/[^)]+)\)", GUIDE.read_text(encoding="utf-8")))
    there = {f"pictures/{path.name}" for path in (GUIDE.parent / "pictures").iterdir()}
    assert shown == there
    assert sum(path.stat().st_size for path in (GUIDE.parent / "pictures").iterdir()) < 1_500_000
