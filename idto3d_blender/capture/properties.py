# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user chooses for the take that is loaded. In the window manager, and kept when another file is opened, as
the settings of the next head are: the take stays loaded, too."""

from typing import Any

import bpy

from .table import FaceTake
from .treat import REGIONS, Treatment

_kept: dict[str, Any] = {}


def _gain(name: str) -> Any:
    return bpy.props.FloatProperty(name=name, default=1.0, min=0.0, max=4.0, soft_max=2.0)


class IDTO3D_capture(bpy.types.PropertyGroup):
    """Settings of face capture"""

    performer: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="Performer",
        description="Who is in the video",
        items=(
            ("HEAD", "The Head's Person", "The selected head shows who is in the video: its face at rest is known"),
            ("VIDEO", "Somebody Else", "The video itself has to tell how the performer's face is at rest"),
        ),
    )
    rest: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="Calibrate",
        description="When in the take the face is at rest. What it shows there counts as nothing",
        items=(
            ("START", "First Second", "The face is at rest and looks ahead when it is first seen"),
            ("RANGE", "Range", "From and to a second of the take"),
            ("NONE", "Off", "Take the values as they are"),
        ),
    )
    rest_from: bpy.props.FloatProperty(name="From", min=0.0, subtype="TIME_ABSOLUTE")  # type: ignore[valid-type]
    rest_to: bpy.props.FloatProperty(  # type: ignore[valid-type]
        name="To", min=0.0, default=1.0, subtype="TIME_ABSOLUTE"
    )
    smooth: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Smooth", description="Take the trembling out (One Euro filter)", default=True
    )
    cutoff: bpy.props.FloatProperty(  # type: ignore[valid-type]
        name="Cutoff", description="Hertz that pass at rest. Lower is calmer", default=5.0, min=0.1, max=30.0
    )
    beta: bpy.props.FloatProperty(  # type: ignore[valid-type]
        name="Quickness", description="How much more passes where the face moves fast", default=15.0, min=0.0, max=50.0
    )
    zero_lag: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="No Lag", description="Smooth forward and backward in time, so that nothing comes late", default=True
    )
    gain: _gain("Gain")  # type: ignore[valid-type]
    gain_brow: _gain("Brows")  # type: ignore[valid-type]
    gain_eye: _gain("Eyes")  # type: ignore[valid-type]
    gain_cheek: _gain("Cheeks and Nose")  # type: ignore[valid-type]
    gain_jaw: _gain("Jaw")  # type: ignore[valid-type]
    gain_mouth: _gain("Mouth")  # type: ignore[valid-type]
    blinks: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Full Blinks", description="The strongest blinks close the eyes, whatever they scored", default=True
    )
    head: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Turn the Head",
        description="On the neck and head bones of the head's rig; without a rig, on an empty that the head hangs on",
        default=True,
    )
    turn: bpy.props.FloatProperty(  # type: ignore[valid-type]
        name="Amount", description="How much of the head's turns is kept", default=1.0, min=0.0, max=2.0
    )
    eyes: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Turn Eye Bones", description="Where the head has a rig; else shape keys turn the eyes", default=True
    )
    flip: bpy.props.BoolVectorProperty(  # type: ignore[valid-type]
        name="Turn Other Way", description="Yaw, pitch, roll: for takes of a telephone that lay on its side", size=3
    )
    swap_mouth: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="Swap Mouth Left and Right", description="Some versions of Live Link Face exchange these two"
    )
    trim_in: bpy.props.FloatProperty(name="In", min=0.0, subtype="TIME_ABSOLUTE")  # type: ignore[valid-type]
    trim_out: bpy.props.FloatProperty(  # type: ignore[valid-type]
        name="Out", description="Where the take is cut off; 0 for its end", min=0.0, subtype="TIME_ABSOLUTE"
    )
    start: bpy.props.IntProperty(name="Start Frame", default=1)  # type: ignore[valid-type]
    as_strip: bpy.props.BoolProperty(  # type: ignore[valid-type]
        name="As a Strip", description="Into a track of the NLA editor, and not as the active action"
    )


def settings() -> Any:
    """The settings, an IDTO3D_capture. Look them up each time: another file makes new ones."""
    return bpy.context.window_manager.idto3d_capture


def keep() -> None:
    """Copy the settings: opening another file is about to drop them."""
    given = settings()
    _kept.update({name: getattr(given, name) for name in IDTO3D_capture.__annotations__})
    _kept["flip"] = tuple(given.flip)


def restore() -> None:
    """Bring back what ``keep`` copied."""
    for name, value in _kept.items():
        setattr(settings(), name, value)
    _kept.clear()


def treatment(scene: Any, take: FaceTake) -> Treatment:
    """As the panel has it, for the scene's frame rate. The first second is that from which the face is seen."""
    given = settings()
    yaw, pitch, roll = (-1.0 if flip else 1.0 for flip in given.flip)
    begin = float(take.times[take.tracked.argmax()])
    rest = {"START": (begin, begin + 1.0), "RANGE": (given.rest_from, given.rest_to), "NONE": None}[given.rest]
    return Treatment(
        rest=rest,
        cutoff=given.cutoff if given.smooth else 0.0,
        beta=given.beta,
        zero_lag=given.zero_lag,
        gain=given.gain,
        gains={region: getattr(given, f"gain_{region}") for region in REGIONS},
        blinks=given.blinks,
        turn=given.turn,
        flips=(yaw, pitch, roll),
        swap_mouth=given.swap_mouth,
        # Blender's number may be a little less than the take's own length.
        trim=(given.trim_in, given.trim_out if 0 < given.trim_out < take.duration - 1e-3 else float("inf")),
        start=given.start,
        fps=scene.render.fps / scene.render.fps_base,
    )


def register() -> None:
    bpy.utils.register_class(IDTO3D_capture)
    bpy.types.WindowManager.idto3d_capture = bpy.props.PointerProperty(type=IDTO3D_capture, options={"SKIP_SAVE"})


def unregister() -> None:
    _kept.clear()
    del bpy.types.WindowManager.idto3d_capture
    bpy.utils.unregister_class(IDTO3D_capture)
