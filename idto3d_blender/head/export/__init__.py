# SPDX-License-Identifier: GPL-3.0-or-later
"""A head for other programs: with its keys, maps and notes, in a folder of its own.

An export is written beside, read back, held against what it was to be, and only then moved to its place.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from .. import mesh_data, naming, room
from ..carrier import CARRIES
from ..import_head import run_to_end
from ..rig_keys import is_twin
from ..stepwise import Steps
from . import checked, elsewhere, keys, looks, motion, names, stage, write
from .errors import ExportError
from .presets import BY_NAME, LIMITS, PRESETS, Preset, Textures

__all__ = [
    "BY_NAME",
    "PRESETS",
    "Choice",
    "ExportError",
    "Preset",
    "changes",
    "export",
    "notes",
    "steps",
    "unavailable",
]

unavailable = write.unavailable
LICENCE = "LICENCE.txt"


@dataclass(frozen=True)
class Choice:
    """What a user wants. groups: of keys, see `keys.GROUPS`; textures: None as the preset has them; rig: with the
    armature, where the head has one; animation: in the scene's frames, see `motion`."""

    preset: Preset
    groups: Collection[str] = keys.GROUPS
    textures: Textures | None = None
    rig: bool = True
    animation: bool = False


def export(context: Any, obj: Any, folder: Path, choice: Choice) -> Path:
    """Write the head ``obj`` into ``folder``/<name>_<preset>; returns the main file there. Where another head's export
    has that folder, the name has a number.

    Raises ExportError; what was there before is then as it was.
    """
    return run_to_end(steps(context, obj, folder, choice, aside=False))


def steps(context: Any, obj: Any, folder: Path, choice: Choice, aside: bool) -> Steps[Path]:
    """The same in steps. aside: a Blender of its own does the work, so that this one's window goes on."""
    preset, textures = choice.preset, choice.textures or choice.preset.textures
    if reason := unavailable(preset):
        raise ExportError("E_EXPORT_ADDON", f"{reason}.")
    if not folder.is_absolute():
        raise ExportError("E_EXPORT_WRITE", "The folder has no whole path.", "Save the file first, or choose a folder.")
    if obj.matrix_world.determinant() < 0:
        what = "The head is mirrored by a negative scale, and would come out upside down."
        raise ExportError("E_EXPORT_MIRRORED", what, "Take the minus off its scale.")
    mixes = keys.wanted(_key_names(obj), choice.groups, preset.vrm)
    if preset.format == "USD":
        mixes = {name: mixes[old] for old, name in keys.renamed(mixes).items()}
    frames = motion.frames_of(context.scene) if choice.animation and preset.animated else None
    metre = room.metre(context.scene)
    name = names.free_name(obj.name, lambda name: _is_anothers(_target(folder, name, preset), obj))
    wanted = stage.Wanted(preset, mixes, choice.rig, name, metre, frames)
    target = _target(folder, name, preset)
    licence = _licence(obj)
    context.view_layer.update()
    try:
        with _beside(target) as part:
            # What is being painted is in no file yet, and what is linked in another: neither would go along.
            here = any(image.is_dirty for image in naming.images(obj)) or obj.data.library is not None
            # Another Blender has none of the functions that people give drivers, nor the data that these look up.
            here = here or frames is not None and motion.runs_python(obj.data.shape_keys, stage.armature_of(obj))
            if aside and not here:
                file = yield from elsewhere.write(context, obj, wanted, textures, part)
            else:  # in one go: what others made meanwhile would go with the scene that the window shows
                file = run_to_end(checked.write(context, obj, wanted, textures, part))
            (part / LICENCE).write_text(licence, encoding="utf-8")
            _move(part, target, file)
    except OSError as error:
        raise ExportError("E_EXPORT_WRITE", f"{folder.name} cannot be written: {error.strerror or error}.") from error
    except RuntimeError as error:
        raise ExportError("E_EXPORT", str(error).strip()) from error
    return target / file.name


def changes(obj: Any) -> list[str]:
    """What any export does to this head's modifiers, a sentence for each."""
    lines = []
    if kept := stage.kept_modifiers(obj):
        lines.append(f"{_listed(kept)} will be applied to every key")
    off = [modifier for modifier in stage.left_modifiers(obj) if not modifier.show_viewport]
    if off:
        lines.append(f"{_listed(off)} will be left out, as it is switched off in the viewport")
    left = [modifier for modifier in stage.left_modifiers(obj) if modifier not in off]
    if second := [modifier for modifier in left if modifier.type == "ARMATURE"]:
        lines.append(f"{_listed(second)} will be left out, as a head has one skeleton")
    if other := [modifier for modifier in left if modifier not in second]:
        lines.append(f"{_listed(other)} will be left out, as it would make another mesh of every key")
    return lines


def notes(obj: Any, choice: Choice) -> list[str]:
    """What an export of this head will not hold, or will hold otherwise, a sentence for each; to be said before."""
    given, owners = _key_names(obj), (obj.data.shape_keys, stage.armature_of(obj))
    lines = changes(obj)
    arkit = [name for name in given if keys.group_of(name) == "ARKIT"]
    if choice.preset.name == "UNREAL" and "ARKIT" in choice.groups and len(arkit) < len(keys.ARKIT):
        lines.append(f"This head has {len(arkit)} of the {len(keys.ARKIT)} shapes of ARKit, which Live Link drives")
    if choice.preset.vrm and (missing := keys.VRM.keys() - keys.vrm_mixes(given).keys()):
        lines.append(f"This head's keys cannot show {', '.join(name for name in keys.VRM if name in missing)}")
    if choice.animation and any(map(motion.is_animated, owners)) and not choice.preset.animated:
        lines.append(f"{choice.preset.title} gets the head without its animation")
    elif choice.animation and motion.lies_outside(owners, motion.frames_of(bpy.context.scene)):
        lines.append("The head's actions lie outside the scene's frames, which go along")
    elif choice.animation and any(map(motion.is_animated, owners)):
        mixes = keys.wanted(motion.standing(obj.data.shape_keys), choice.groups, choice.preset.vrm)
        lines += [f"{', '.join(mixes)} will stand as now throughout the animation"] if mixes else []
    if choice.animation and choice.preset.animated and not choice.rig and motion.is_animated(owners[1]):
        lines.append("What the bones of its rig do stays in Blender: turns of the head and, from a take, of the eyes")
    if choice.animation and choice.preset.animated and (on := motion.turned_by(obj)) is not None:
        again = ": add the rig, then bake again" if CARRIES in on else ""
        lines.append(f"What moves {on.name}, on which the head hangs, stays in Blender{again}")
    if choice.preset.format == "USD":
        other = [f"{name} {new}" for name, new in keys.renamed(given).items() if name != new]
        lines += [f"USD calls {', '.join(other)}"] if other else []
    if choice.rig and any(is_twin(key.name) for key in obj.data.shape_keys.key_blocks):
        lines.append("In the file lids move by keys and not by bones, the jaw by either")
    lines.append(LIMITS[choice.preset.format])
    own = (slot.material for slot in obj.material_slots)
    lines += looks.notes(own, mesh_data.uv_name(obj.data), choice.preset.format)
    return lines


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """An empty folder on the same disk as ``target``, gone afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _move(aside: Path, target: Path, main: Path) -> None:
    """File by file, the main one last: what else a user keeps there stays."""
    files = [path for path in aside.rglob("*") if path.is_file() and path != main]
    for path in (*files, main):
        place = target / path.relative_to(aside)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, place)


def _target(folder: Path, name: str, preset: Preset) -> Path:
    return folder / f"{name}_{preset.name.lower()}"


def _is_anothers(target: Path, obj: Any) -> bool:
    """A folder has the export of another head, whose name is the same in plain letters, or on disks that take capitals
    for small ones."""
    try:
        with (target / LICENCE).open(encoding="utf-8") as file:
            return file.readline().rstrip("\n") != _title(obj)
    except (OSError, UnicodeError):
        return False


def _title(obj: Any) -> str:
    return f"{obj.name}, a head made with ID-to-3D for Blender"


def _licence(obj: Any) -> str:
    given = stage.notes_of(obj)
    lines = [f"{title}: {given[key]}" for key, title in stage.NOTES.items() if given.get(key)]
    return "\n".join([_title(obj), "", *lines, ""])


def _key_names(obj: Any) -> list[str]:
    blocks = obj.data.shape_keys.key_blocks if obj.data.shape_keys is not None else ()
    return [key.name for key in blocks[1:] if not is_twin(key.name)]


def _listed(modifiers: list[Any]) -> str:
    return ", ".join(modifier.name for modifier in modifiers)
