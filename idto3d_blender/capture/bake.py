# SPDX-License-Identifier: GPL-3.0-or-later
"""A treated take becomes animation: a key a frame on the head's shape keys, and on what turns it.

Each bake is a take of its own, an action with a name that lasts; those before stay in the file, to be chosen again.
From Blender 4.4 on one action holds all of it, in a slot for each data-block; before, each data-block has an action.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import bpy
import numpy as np

from ..head import applied, carrier, hand_over
from ..head.expressions import VISEMES, group_of
from ..head.import_head import is_head
from . import target
from .table import SHAPES
from .target import Curve
from .treat import Treated

_SAME = 1e-5
_SEEN = 1e-2  # of a key: less is not missed


@dataclass(frozen=True)
class Wanted:
    """name: of the take; strip: into a strip of the NLA editor and not as the active action; head: turn the head;
    eyes: turn eye bones where the rig has them."""

    name: str
    strip: bool = False
    head: bool = True
    eyes: bool = True


@dataclass(frozen=True)
class Baked:
    """action: the name, "" where drivers keep all of it; missing: shapes that the head has no key for; driven: keys,
    bones and the empty that drivers keep from it; covered: those over whose strip an active action of somebody's own
    lies; muted and narrow: keys that are muted, and whose sliders end before the take does."""

    action: str
    missing: tuple[str, ...]
    driven: tuple[str, ...]
    covered: tuple[str, ...]
    muted: tuple[str, ...]
    narrow: tuple[str, ...]


def is_tweaked(obj: Any) -> bool:
    """A strip of what a bake would move is in tweak mode, and its action held."""
    rig = target.rig_of(obj)
    owners = (obj, obj.data.shape_keys, obj.parent, rig, *([rig.parent] if rig is not None else []))
    return hand_over.is_tweaked(*owners)


def bake(context: Any, obj: Any, take: Treated, wanted: Wanted) -> Baked:
    """Animate a head in object mode."""
    keys = obj.data.shape_keys
    rig = target.rig_of(obj)
    wanted = replace(wanted, head=wanted.head and take.turned)
    eyes = wanted.eyes and take.gaze and target.has_eyes(rig)
    missing = tuple(name for name in SHAPES if name not in keys.key_blocks)
    curves = []
    for n, name in enumerate(SHAPES):
        if name in missing:
            continue
        # What bones turn, keys must not turn again.
        turned = eyes and name.startswith("eyeLook")
        values = np.zeros(len(take.frames)) if turned else take.shapes[:, n]
        curves.append(Curve(f'key_blocks["{name}"].value', -1, values))
    writer = _Writer(f"{obj.name} {wanted.name}", wanted, take)
    talk = _silence_talk(keys) if not wanted.strip else ()
    writer.write(keys, curves, (*(f'key_blocks["{name}"].value' for name in SHAPES), *talk))
    if wanted.head and rig is not None or not (wanted.head or wanted.strip):
        target.still(rig or obj)  # what a take before turned would turn the head as well
    if rig is not None:
        if not carrier.is_moved(obj):
            applied.take_back(obj)
        _turn_bones(obj, rig, (take, wanted, eyes), writer)
    elif wanted.head:
        empty = target.empty_of(context, obj)
        writer.write(empty, list(target.empty_curves(empty, take)), (target.TURNS,))
    driven, covered = tuple(writer.driven), tuple(writer.covered)
    return Baked(writer.name if writer.wrote else "", missing, driven, covered, *_limited(keys, curves, driven))


def _limited(keys: Any, curves: Iterable[Curve], driven: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the keys that are muted, and of those whose sliders end before what curves have for them."""
    most = {curve.path.split('"')[1]: float(curve.values.max()) for curve in curves}
    moved = {name: (keys.key_blocks[name], value) for name, value in most.items() if name not in driven}
    muted = tuple(name for name, (key, value) in moved.items() if key.mute and value > _SEEN)
    return muted, tuple(name for name, (key, value) in moved.items() if value > key.slider_max + _SEEN)


def frames_with_others(scene: Any, take: Treated) -> tuple[int, int]:
    """First and last frame of a take and of all that heads in a scene play."""
    heads = [obj for obj in scene.objects if is_head(obj) and obj.visible_get()]  # other forms have their old takes
    players = [player for head in heads for player in hand_over.playing(head.data.shape_keys.animation_data)]
    spans = [(take.frames[0], take.frames[-1])]
    spans += [span for player in players if hand_over.TAKE in player.action for span in _spans(player)]
    return math.floor(min(first for first, _ in spans)), math.ceil(max(last for _, last in spans))


def _spans(player: Any) -> list[tuple[float, float]]:
    """First and last frame of a strip, or of each of an action's curves that are a take's and nobody's own."""
    if hasattr(player, "frame_start"):
        return [hand_over.span(player)]
    paths = {f'key_blocks["{name}"].value' for name in SHAPES}
    return [tuple(curve.range()) for curve in hand_over.curves_of(player) if curve.data_path in paths]


def _silence_talk(keys: Any) -> tuple[str, ...]:
    """Another talk than a take's does not go on beside it: the paths of visemes that an action moves which is no take.
    They show nothing any more."""
    data = keys.animation_data
    if data is None or data.action is None or hand_over.TAKE in data.action:
        return ()
    visemes = {f'key_blocks["{name}"].value': name for name in keys.key_blocks.keys() if group_of(name) == VISEMES}
    moved = [curve.data_path for curve in hand_over.curves_of(data) if curve.data_path in visemes]
    for path in moved:
        keys.key_blocks[visemes[path]].value = 0.0
    return tuple(moved)


def _turn_bones(obj: Any, rig: Any, how: tuple[Treated, Wanted, bool], writer: "_Writer") -> None:
    take, wanted, eyes = how
    bones = [*((target.NECK, target.HEAD) if wanted.head else ()), *(target.EYES if eyes else ())]
    turns = [curve for curve in target.rig_curves(obj, rig, take, eyes) if curve.path.startswith(_turns_of(bones))]
    data = rig.animation_data
    # What a take before turned, and this one does not, is still; what somebody has keyed goes along.
    ours = data is not None and data.action is not None and hand_over.TAKE in data.action
    others = [bone for bone in (target.NECK, target.HEAD, *target.EYES) if bone not in bones]
    held = [] if wanted.strip else [bone for bone in others if _goes_on_below(data, bone, ours)]
    turns += target.held_curves(rig, held)
    still = others if ours else held
    if turns or still:
        writer.write(rig, turns, _turns_of([*bones, *still]))
        target.rest(rig, still)


def _goes_on_below(data: Any, bone: str, ours: bool) -> bool:
    """Strips of takes turn a bone where an active action leaves it alone. ours: the one now is a take's, and goes."""
    own = [data] if data is not None and data.action is not None else []
    below = [one for one in hand_over.playing(data) if one not in own and hand_over.TAKE in one.action]
    moving = [curve for player in below for curve in hand_over.curves_of(player)]
    lying_over = [] if ours else [curve for player in own for curve in hand_over.curves_of(player)]
    by_takes, by_own = (
        any(c.data_path.startswith(_turns_of([bone])) for c in curves) for curves in (moving, lying_over)
    )
    return by_takes and not by_own


def _turns_of(bones: Iterable[str]) -> tuple[str, ...]:
    return tuple(f'pose.bones["{bone}"].{target.TURNS}' for bone in bones)


class _Writer:
    """Writes the curves of several data-blocks into one take."""

    def __init__(self, name: str, wanted: Wanted, take: Treated) -> None:
        self.name, self._wanted, self._take = name, wanted, take
        self.driven: dict[str, None] = {}
        self.covered: dict[str, None] = {}
        self.wrote = False
        self._action: Any = None

    def write(self, owner: Any, curves: list[Curve], of_takes: tuple[str, ...]) -> None:
        """Give a data-block its part of the take. of_takes: what the paths begin with that are the take's alone: what
        else the action before moves, which this one replaces, goes along."""
        layered = bpy.app.version >= (4, 4)
        before = [c for c in self._replaced(owner) if not c.data_path.startswith(of_takes)]
        curves, data = self._free(owner, curves), owner.animation_data
        if not curves and (data is None or data.action is None or hand_over.TAKE not in data.action):
            return  # nothing is to go
        if not (curves or before):
            data.action.use_fake_user = True
            data.action = None
            return
        self.wrote = self.wrote or bool(curves)
        if self._wanted.strip and data is not None and data.action is not None and hand_over.TAKE not in data.action:
            own = {(one.data_path, one.array_index) for one in hand_over.curves_of(data) if not one.mute}
            self.covered |= _labels(owner, [one for one in curves if (one.path, max(one.index, 0)) in own])
        if self._action is None or not layered:
            self._action = bpy.data.actions.new(self.name)
            self._action.use_fake_user = True  # a take that is not in use now is a take still
            self._action[hand_over.TAKE] = self._wanted.name
            self.name = self._action.name if layered or owner.id_type == "KEY" else self.name
        fcurves, slot = hand_over.part_for(owner, self._action)
        for curve in curves:
            _write(fcurves, curve, self._take.frames)
        for curve in before:
            hand_over.copy_curve(curve, fcurves)
        _assign(owner, self._action, slot, self._wanted)

    def _free(self, owner: Any, curves: list[Curve]) -> list[Curve]:
        """Those that no driver would keep from what they move."""
        drivers = owner.animation_data.drivers if owner.animation_data is not None else ()
        taken = {(one.data_path, one.array_index) for one in drivers if not one.mute}
        kept = [curve for curve in curves if (curve.path, max(curve.index, 0)) in taken]
        self.driven |= _labels(owner, kept)
        return [curve for curve in curves if curve not in kept]

    def _replaced(self, owner: Any) -> Iterable[Any]:
        """Curves of the action whose place the take comes in. Beside a strip the user's own action goes on."""
        data = owner.animation_data
        if data is None or data.action is None:
            return ()
        return hand_over.curves_of(data) if not self._wanted.strip or hand_over.TAKE in data.action else ()


def _labels(owner: Any, curves: Iterable[Curve]) -> dict[str, None]:
    """Names of what curves move, each once: keys, bones, or the owner itself."""
    return dict.fromkeys(one.path.split('"')[1] if '"' in one.path else owner.name for one in curves)


def _write(fcurves: Any, curve: Curve, frames: Any) -> None:
    values = curve.values
    if np.ptp(values) < _SAME:  # one key says it
        frames, values = frames[:1], values[:1]
    hand_over.linear_curve(fcurves, (curve.path, curve.index), frames, values)


def _assign(owner: Any, action: Any, slot: Any, wanted: Wanted) -> None:
    data = owner.animation_data or owner.animation_data_create()
    before = data.action
    if not wanted.strip:
        if before is not None:
            before.use_fake_user = True  # the user's own, perhaps
        data.action = action
        if slot is not None:
            data.action_slot = slot
        return
    if before is not None and hand_over.TAKE in before:
        data.action = None  # it would lie over the strip
    first, last = action.frame_range
    last = max(last, first + 1)  # no strip is shorter
    playing = [track for track in data.nla_tracks if track.strips and not track.mute]
    below = next((track for track in playing if _has_takes(track)), None)
    track = below if below is not None and _has_room(below, first, last) else data.nla_tracks.new()
    if track != below:
        track.name = action.name
    strip = track.strips.new(action.name, math.floor(first), action)
    if slot is not None:
        strip.action_slot = slot
    strip.frame_start_ui = strip.action_frame_start
    if below is not None:
        # Above other takes one that held would end them; below, Blender from 5.0 on has keys at 1 where none holds.
        strip.extrapolation = "HOLD" if track == below else "NOTHING"
        return
    others = [each for one in playing for each, _ in hand_over.clips(one.strips)]
    moved = {curve.data_path for each in others for curve in hand_over.curves_of(each)}
    own = {curve.data_path for curve in hand_over.curves_of(strip)}
    strip.extrapolation = "HOLD_FORWARD" if moved & own else "HOLD"


def _has_takes(track: Any) -> bool:
    """A track has takes, and nothing else."""
    return all(strip.action is not None and hand_over.TAKE in strip.action for strip in track.strips)


def _has_room(track: Any, first: float, last: float) -> bool:
    """No strip of a track plays between two frames."""
    return all(strip.frame_end <= first or last <= strip.frame_start for strip in track.strips)
