# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a torchvision built for CUDA importable beside a torch built for the CPU.

torchvision's compiled operators need the CUDA libraries that only a CUDA torch carries. Where they cannot load,
importing torchvision stops with "operator torchvision::nms does not exist", and so do peft, timm and open_clip, which
import it when it is installed. None of them calls these operators here: it is enough that their schemas are declared.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import torch

# torchvision registers fake kernels for these two while it is imported, so their schemas have to exist by then.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# A Library takes its schemas away again when it is collected.
_keep_alive: list[torch.library.Library] = []


@cache
def prepare_torchvision() -> bool:
    """Call before the first import of peft, timm, transformers' models or open_clip; later calls cost nothing.

    Returns whether schemas had to be declared: False where torchvision is absent or its operators load. Does not import
    torchvision itself. After a True, calling ``torchvision.ops.nms`` raises RuntimeError.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    compiled = [path for path in Path(spec.origin).parent.glob("_C.*") if path.suffix in (".so", ".pyd")]
    try:
        for path in compiled:
            torch.ops.load_library(path)
    except OSError:
        # FRAGMENT, not DEF: torchvision opens further fragments of the same namespace when it is imported.
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in _SCHEMAS:
            library.define(schema)
        _keep_alive.append(library)
        return True
    return False
