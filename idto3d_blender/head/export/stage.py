# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of a head for an exporter, in a scene of its own: neutral, upright at the origin, without modifiers.

The user's scene is left alone, so that nothing of it (a hidden head, one that cannot be selected, one that was moved
aside, an animation, the scene's unit) finds its way into the file.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from .. import mesh_data, rig
from ..import_head import PROPERTY
from . import looks, materials, motion
from .errors import ExportError
from .keys import Mix
from .names import ascii_name, ascii_names
from .presets import Preset

NOTES = {"licence": "Licence", "consent": "Consent", "generator": "Made by", "pack": "Pack", "seed": "Seed"}
"""What goes along of where a head came from, as custom properties of its object; with its title for people."""
# What these make depends on the pose: each key would become another mesh.
SHAPE_DEPENDENT = ("DECIMATE", "REMESH", "WELD", "BOOLEAN", "BUILD", "EXPLODE", "SKIN", "MASK")
_OWN_ATTRIBUTES = ("part", "seen")
_KINDS = ("objects", "meshes", "armatures", "materials", "images", "collections", "actions", "node_groups", "texts")


@dataclass(frozen=True)
class Wanted:
    """preset; mixes: the file's keys, see `keys.wanted`; rig: the armature goes along; name: of all of it; metre: in
    units of the head's scene; frames: of the animation that goes along, None for a head at rest."""

    preset: Preset
    mixes: Mapping[str, Mix]
    rig: bool
    name: str
    metre: float
    frames: motion.Frames | None = None


@dataclass(frozen=True, eq=False)
class Staged:
    """A copy that only exporters see. head: a mesh object; armature: an object, or None; unit: metres of its unit;
    moving: see `motion.hand_on`."""

    head: Any
    armature: Any
    unit: float
    moving: frozenset[str] = frozenset()


def kept_modifiers(obj: Any) -> list[Any]:
    """Those of a head that an export applies to each key: what the viewport shows, but no skeleton and none whose mesh
    differs from key to key."""
    return [m for m in obj.modifiers if m.show_viewport and m.type != "ARMATURE" and m.type not in SHAPE_DEPENDENT]


def left_modifiers(obj: Any) -> list[Any]:
    """Those that an export leaves out."""
    ours = armature_of(obj)
    rest = [m for m in obj.modifiers if m.type != "ARMATURE" or m.object not in (None, ours)]
    return [m for m in rest if m not in kept_modifiers(obj)]


def armature_of(obj: Any) -> Any:
    """The armature object that moves a head, or None."""
    return next((m.object for m in obj.modifiers if m.type == "ARMATURE" and m.object is not None), None)


def notes_of(obj: Any) -> dict[str, str]:
    """What is known of where a head came from."""
    given = obj.get(PROPERTY, {})
    return {key: str(given[key]) for key in NOTES if key in given}


@contextlib.contextmanager
def scene_of_our_own(context: Any, unit: float = 1.0) -> Iterator[Any]:
    """An empty scene, which the window shows meanwhile; it goes afterwards, with all that was made meanwhile."""
    before = {kind: set(getattr(bpy.data, kind)) for kind in _KINDS}
    window = context.window or context.window_manager.windows[0]
    shown = window.scene
    scene = bpy.data.scenes.new("idto3d export")
    scene.unit_settings.scale_length = unit
    # Exporters read the window's scene, whatever the context is overridden with.
    # Viewports leave the camera where a scene has none, and forget their own.
    spaces = [area.spaces.active for area in window.screen.areas if area.type == "VIEW_3D"]
    views = [(space, space.region_3d.view_perspective, space.camera) for space in spaces]
    window.scene = scene
    try:
        yield scene
    finally:
        window.scene = shown
        for space, perspective, camera in views:
            space.region_3d.view_perspective, space.camera = perspective, camera
        made = [block for kind, known in before.items() for block in getattr(bpy.data, kind) if block not in known]
        bpy.data.scenes.remove(scene)
        bpy.data.batch_remove(made)


def stage(scene: Any, obj: Any, wanted: Wanted, textures: Path) -> Staged:
    """Put a copy of the head ``obj`` into ``scene``, selected, its pictures into the folder ``textures``.

    Raises ExportError where a modifier makes another mesh of each key.
    """
    preset = wanted.preset
    unit = preset.unit if preset.format == "FBX" else 1.0
    armature = armature_of(obj) if wanted.rig else None
    anchor = (armature or obj).matrix_world
    place, turn, _ = anchor.decompose()
    upright = Matrix.LocRotScale(place, turn, None).inverted()
    # FBX says in its objects' rotation how its axes lie to Blender's. Turned beforehand, the objects are not.
    axes = Matrix.Rotation(-math.pi / 2, 4, "X") if preset.format == "FBX" and preset.up == "Y" else Matrix()
    frame = Matrix.Scale(1 / (unit * wanted.metre), 4) @ axes @ upright
    # Unreal and USD know no dots in names.
    called = ascii_names(bone.name for bone in armature.data.bones) if armature is not None else {}
    head = _head(scene, obj, wanted, frame @ obj.matrix_world, called)
    for slot, name in enumerate(material_names(obj, wanted.name)):
        given = obj.material_slots[slot].material
        look = looks.look_of(given, mesh_data.uv_name(obj.data))
        head.data.materials[slot] = materials.plain(look, given, name, textures, preset.format)
        materials.put_uv(head.data, slot, look.place or Matrix())
    moving: frozenset[str] = frozenset()
    bones = _armature(scene, armature, f"{wanted.name}_rig") if armature is not None else None
    if wanted.frames is not None:
        # Where FBX's exporter divides by the base, glTF's multiplies.
        base = 1 / wanted.frames.base if preset.format == "GLTF" else wanted.frames.base
        motion.set_frames(scene, wanted.frames, base)
        moving = motion.hand_on(scene, wanted.frames, (obj, head), (armature, bones), (frame @ anchor).median_scale)
        if moving:
            # What exporters call the animation.
            scene.name = ascii_name(motion.name_of(obj.data.shape_keys, armature))
    if bones is not None:
        # After the animation, whose paths follow.
        _rename(bones.data.bones, called)
        bones.data.transform(frame @ anchor)
        if called.get("jaw", "") in head.vertex_groups:
            bones.data.bones[called["jaw"]].use_deform = True  # see rig.weigh_jaw
    top = bones or head
    top.matrix_world = axes.inverted()
    if bones is not None:
        # Where a skinned mesh hangs means nothing in glTF, whose validator asks for it at the top.
        head.parent = bones if preset.format != "GLTF" else None
        head.modifiers.new("Armature", "ARMATURE").object = bones
    for each in filter(None, (bones, head)):
        each.select_set(True)
        scene.view_layers[0].objects.active = each
    for key, value in notes_of(obj).items():
        top[key] = value
    scene.view_layers[0].update()
    return Staged(head, bones, unit, moving)


def material_names(obj: Any, name: str) -> list[str]:
    """What the materials of the export of ``obj`` as ``name`` are called: each otherwise, since their pictures are
    called after them."""
    made: list[str] = []
    for number, slot in enumerate(obj.material_slots):
        plain = _material_name(slot.material, number, obj, name)
        made.append(plain if plain not in made else f"{plain}_{number}")
    return made


def _material_name(given: Any, slot: int, obj: Any, name: str) -> str:
    """ "anna_skin" of "anna skin" and of "anna skin.001"."""
    if given is None:
        return f"{name}_{slot}"
    own = given.name.rpartition(".")[0] if given.name[-4:-3] == "." else given.name
    role = own.removeprefix(f"{obj.name} ")
    return ascii_name(own) if role == own else f"{name}_{ascii_name(role)}"


def _head(scene: Any, obj: Any, wanted: Wanted, frame: Matrix, called: Mapping[str, str]) -> Any:
    """The neutral mesh with a key for each mix, as modifiers and all that shape keys can do make them; called: bone ->
    its name in the file."""
    source = _source(scene, obj)
    if called and rig.rig_of(obj) == armature_of(obj):
        rig.weigh_jaw(source)
    layer = scene.view_layers[0]
    neutral = _evaluated(layer, source, {})
    poses = {name: _evaluated(layer, source, mix) for name, mix in wanted.mixes.items()}
    if any(len(pose) != len(neutral) for pose in poses.values()):
        raise ExportError(
            "E_EXPORT_MODIFIERS",
            f"With {', '.join(m.name for m in kept_modifiers(obj))} each expression is another mesh.",
            "Switch the modifier off in the viewport, or apply it before.",
        )
    _evaluated(layer, source, {})
    mesh = bpy.data.meshes.new_from_object(
        source.evaluated_get(layer.depsgraph), preserve_all_data_layers=True, depsgraph=layer.depsgraph
    )
    mesh.name = wanted.name
    for name in _OWN_ATTRIBUTES:
        if name in mesh.attributes:
            mesh.attributes.remove(mesh.attributes[name])
    while len(mesh.materials) < len(obj.material_slots):
        mesh.materials.append(None)
    head = bpy.data.objects.new(wanted.name, mesh)
    scene.collection.objects.link(head)
    for group in source.vertex_groups:
        if group.name not in head.vertex_groups:
            head.vertex_groups.new(name=group.name)
    for group in [group for group in head.vertex_groups if group.name not in called]:
        head.vertex_groups.remove(group)
    _rename(head.vertex_groups, called)
    mesh.attributes["position"].data.foreach_set("vector", _moved(neutral, frame).ravel())
    if poses:
        head.shape_key_add(name="Basis", from_mix=False)
    for name, pose in poses.items():
        key = head.shape_key_add(name=name, from_mix=False)
        key.points.foreach_set("co", _moved(pose, frame).ravel())
        key.value = 0.0
    bpy.data.objects.remove(source)
    return head


def _source(scene: Any, obj: Any) -> Any:
    """A copy whose keys can be set: not animated, not driven, not pinned, not muted."""
    source = obj.copy()
    source.data = obj.data.copy()
    source.animation_data_clear()
    source.parent = None
    source.constraints.clear()
    source.matrix_world = obj.matrix_world  # what lies around it in the scene may shape it
    source.show_only_shape_key = False
    kept = {m.name for m in kept_modifiers(obj)}
    for modifier in list(source.modifiers):
        if modifier.name not in kept:
            source.modifiers.remove(modifier)
    keys = source.data.shape_keys
    if keys is not None:
        keys.animation_data_clear()
        keys.use_relative = True  # with absolute keys no value would move anything
        for key in keys.key_blocks:
            key.mute, key.slider_min, key.slider_max = False, min(0.0, key.slider_min), max(1.0, key.slider_max)
    source.hide_viewport = False
    scene.collection.objects.link(source)
    source.hide_set(False, view_layer=scene.view_layers[0])
    return source


def _evaluated(layer: Any, source: Any, mix: Mix) -> NDArray[np.float32]:
    """Vertices (V,3) in the object's own frame with these values of its keys, all others 0."""
    keys = source.data.shape_keys
    for key in keys.key_blocks[1:] if keys is not None else ():
        key.value = mix.get(key.name, 0.0)
    layer.update()
    seen = source.evaluated_get(layer.depsgraph)
    mesh = seen.to_mesh()
    points = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.attributes["position"].data.foreach_get("vector", points.reshape(-1))
    seen.to_mesh_clear()
    return points


def _moved(points: NDArray[np.float32], frame: Matrix) -> NDArray[np.float32]:
    matrix = np.array(frame)
    return np.ascontiguousarray(points @ matrix[:3, :3].T + matrix[:3, 3], np.float32)


def _rename(named: Iterable[Any], called: Mapping[str, str]) -> None:
    """By no name that another one still has: Blender would put a number behind it."""
    for one, name in [(one, called[one.name]) for one in named]:
        one.name = f"idto3d {name}"
    for one in named:
        one.name = one.name.removeprefix("idto3d ")


def _armature(scene: Any, given: Any, name: str) -> Any:
    """A copy in rest."""
    made = given.copy()
    made.data = given.data.copy()
    made.name = made.data.name = name
    for block in (made, made.data):
        block.animation_data_clear()
        for key in list(block.keys()):
            del block[key]
    made.parent = None
    made.constraints.clear()
    scene.collection.objects.link(made)
    made.hide_viewport = False
    made.hide_set(False, view_layer=scene.view_layers[0])
    for bone in made.pose.bones:
        bone.matrix_basis = Matrix()
        for constraint in list(bone.constraints):
            bone.constraints.remove(constraint)
    return made
