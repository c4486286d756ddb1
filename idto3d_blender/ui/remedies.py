# SPDX-License-Identifier: GPL-3.0-or-later
"""Which buttons help against which error: code to operator, text, icon and properties. No bpy."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .. import ADDON


@dataclass(frozen=True)
class Remedy:
    """A button: operator's bl_idname, its text, icon, and values of its properties."""

    operator: str
    text: str
    icon: str
    values: Mapping[str, str] = field(default_factory=dict)


OTHER_PHOTOS = Remedy("idto3d.other_photos", "Choose Other Photos...", "FILE_FOLDER")
LOWER_QUALITY = Remedy("idto3d.lower_quality", "Lower Quality", "TRIA_DOWN")
FEWER_EXPRESSIONS = Remedy("idto3d.fewer_expressions", "Fewer Expressions", "SHAPEKEY_DATA")
FREE_MEMORY = Remedy("idto3d.free_gpu_memory", "Free GPU Memory", "MEMORY")
REPAIR = Remedy("idto3d.install", "Repair Set-up...", "TOOL_SETTINGS")
ONLINE = Remedy("idto3d.online_preferences", "Open Preferences", "PREFERENCES")
OTHER_FOLDER = Remedy("idto3d.choose_output", "Choose Another Folder...", "FILE_FOLDER")
CHOOSE_PYTHON = Remedy("preferences.addon_show", "Choose Another Python...", "PREFERENCES", {"module": ADDON})
STARTER = Remedy("idto3d.use_starter_pack", "Use the Starter Pack", "PACKAGE")

_BY_CODE: dict[str, tuple[Remedy, ...]] = {
    "E_NO_FACE": (OTHER_PHOTOS,),
    "E_OUT_OF_MEMORY": (FREE_MEMORY, LOWER_QUALITY, FEWER_EXPRESSIONS),
    "E_EXPRESSION": (FEWER_EXPRESSIONS,),
    "E_BACKEND_START": (REPAIR,),
    "E_SETUP": (REPAIR,),
    "E_PROTOCOL_VERSION": (REPAIR,),
    "E_PYTHON_VERSION": (CHOOSE_PYTHON,),
    "E_NETWORK": (ONLINE,),
    "E_OUT_NOT_WRITABLE": (OTHER_FOLDER,),
    "E_OUT_BUSY": (OTHER_FOLDER,),
    "E_DISK_FULL": (OTHER_FOLDER,),
    "E_BUNDLE_WRITE": (OTHER_FOLDER,),
}
_BY_KIND: dict[str, tuple[Remedy, ...]] = {
    "E_PHOTO": (OTHER_PHOTOS,),
    "E_FACE": (OTHER_PHOTOS,),
    "E_FIT": (OTHER_PHOTOS,),
    "E_PACK": (STARTER,),
}


_EVERYWHERE = (FREE_MEMORY, REPAIR, ONLINE, CHOOSE_PYTHON)


def remedies(code: str, of_head: bool = True) -> tuple[Remedy, ...]:
    """The buttons for an error; none for one that only reading, or resuming, helps. of_head: those that change what the
    panel of heads asks for, too."""
    kind = "_".join(code.split("_")[:2])
    found = _BY_CODE.get(code) or _BY_KIND.get(kind, ())
    return tuple(remedy for remedy in found if of_head or remedy in _EVERYWHERE)
