# SPDX-License-Identifier: GPL-3.0-or-later
"""The starter pack with two steps a stage, so that a whole run takes seconds."""

import json
import shutil
from pathlib import Path
from typing import Any

from idto3d.pipeline import STARTER_PACK
from idto3d.prior.manifest import MANIFEST


def short(block: dict[str, Any], draft: int = 2, fine: int = 2) -> dict[str, Any]:
    """A pack's distillation block with few steps."""
    steps = {"draft": draft, "standard": draft, "fine": fine}
    return {**block, **{stage: {**block[stage], "steps": steps} for stage in ("geometry", "texture")}}


def quick_pack(folder: Path, fine: int = 2) -> Path:
    """A copy at `folder`."""
    shutil.copytree(STARTER_PACK, folder)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["distillation"] = short(manifest["distillation"], fine=fine)
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return folder
