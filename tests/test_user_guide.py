# SPDX-License-Identifier: GPL-3.0-or-later
"""The user guide names every error code and warning that there is, no other, and this release; its pictures are there
and small. No Blender."""

import re
import tomllib
from pathlib import Path

from idto3d import __version__

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "user-guide.md"


def test_every_code_is_explained() -> None:
    folders = [ROOT / "backend", ROOT / "idto3d_blender"]
    sources = "\n".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.py"))
    # Whole codes as strings or at the end of a message, not the kinds that the remedies are looked up by.
    kinds = {"E_PHOTO", "E_FACE", "E_FIT", "E_PACK", "E_BUNDLE"}
    raised = set(re.findall(r"[\"(]([EW]_[A-Z_]*[A-Z])[\")]", sources)) - kinds
    explained = set(re.findall(r"\b[EW]_[A-Z_]*[A-Z]\b", GUIDE.read_text(encoding="utf-8")))
    assert len(raised) > 40
    assert explained == raised


def test_one_version() -> None:
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert manifest["version"] == __version__
    assert re.findall(r"idto3d-([\d.]+)\.zip", GUIDE.read_text(encoding="utf-8")) == [__version__]


def test_pictures() -> None:
    shown = set(re.findall(r"\]\((pictures/[^)]+)\)", GUIDE.read_text(encoding="utf-8")))
    there = {f"pictures/{path.name}" for path in (GUIDE.parent / "pictures").iterdir()}
    assert shown == there
    assert sum(path.stat().st_size for path in (GUIDE.parent / "pictures").iterdir()) < 1_500_000
