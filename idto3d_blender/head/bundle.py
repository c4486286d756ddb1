# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundle's reader: the backend's own (backend/idto3d_shared), which needs numpy and the standard library only, so
that both sides refuse the same. No bpy.

Blender's Python does not look for packages in the backend's folder, nor should it: the package is loaded from there as
a part of this one, and goes with it when the extension is updated.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..jobs.setup_backend import BACKEND

if TYPE_CHECKING:
    from idto3d_shared.bundle_header import SKIN, Fade, MaterialHeader
    from idto3d_shared.bundle_reader import POSES, PREVIEW, HeadFiles, read_bundle_files, read_vertices
    from idto3d_shared.errors import BundleError
    from idto3d_shared.fit_file import FIT, FitCamera, FitFile, FitPhoto, close_up, read_fit
    from idto3d_shared.live_link import SHAPES as ARKIT
    from idto3d_shared.photo_names import photo_names
    from idto3d_shared.png import size_of
else:
    _NAME = f"{__package__}.idto3d_shared"
    if _NAME not in sys.modules:
        _folder = BACKEND / "idto3d_shared"
        _spec = importlib.util.spec_from_file_location(
            _NAME, _folder / "__init__.py", submodule_search_locations=[str(_folder)]
        )
        sys.modules[_NAME] = importlib.util.module_from_spec(_spec)
        _spec.loader.exec_module(sys.modules[_NAME])
    from .idto3d_shared.bundle_header import SKIN, Fade, MaterialHeader
    from .idto3d_shared.bundle_reader import POSES, PREVIEW, HeadFiles, read_bundle_files, read_vertices
    from .idto3d_shared.errors import BundleError
    from .idto3d_shared.fit_file import FIT, FitCamera, FitFile, FitPhoto, close_up, read_fit
    from .idto3d_shared.live_link import SHAPES as ARKIT
    from .idto3d_shared.photo_names import photo_names
    from .idto3d_shared.png import size_of

__all__ = [
    "FIT",
    "ARKIT",
    "POSES",
    "PREVIEW",
    "SKIN",
    "BundleError",
    "Fade",
    "FitCamera",
    "FitFile",
    "FitPhoto",
    "HeadFiles",
    "MaterialHeader",
    "bundle_folder",
    "close_up",
    "photo_names",
    "read_bundle_files",
    "read_fit",
    "read_vertices",
    "size_of",
]


def bundle_folder(chosen: str | Path) -> Path:
    """The bundle that a person means who picked a folder, or the head.json in it."""
    path = Path(chosen)
    return path.parent if path.name == "head.json" else path
