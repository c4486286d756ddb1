# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pack a head was made with: what is reckoned from its mesh needs that pack's head model."""

import contextlib
import json
from pathlib import Path
from typing import Any

import bpy

from .. import properties
from ..head import folders
from ..head.bundle import FIT, BundleError, read_fit
from ..head.import_head import PROPERTY


def pack_of(obj: Any) -> str | None:
    """The folder of a head's pack as a request has it: None for the starter pack, and where nothing says which. A pack
    that was moved is the one of Generate's settings, if it has its name. Raises BundleError E_PACK_MISSING."""
    folder, recorded = folders.folder_of(obj), ""
    with contextlib.suppress(OSError, BundleError):  # it tells of no pack
        recorded = read_fit(Path(folder) / FIT).pack if folder else ""
    if recorded and _name(recorded) is not None:
        return recorded
    given = properties.settings()
    chosen = bpy.path.abspath(given.pack_folder) if given.pack == "FOLDER" else ""
    # A head says "name (licence)".
    if chosen and str(obj[PROPERTY].get("pack", "")).startswith(f"{_name(chosen)} ("):
        return chosen
    if not recorded:
        return None
    what = f"The pack that {obj.name} was made with is not in {recorded} any more."
    raise BundleError("E_PACK_MISSING", what, "Put it back, or choose its folder under Pack in Generate.")


def _name(folder: str) -> str | None:
    """What the pack in a folder calls itself, None where there is none."""
    try:
        return str(json.loads((Path(folder) / "pack.json").read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
