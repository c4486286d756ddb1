# SPDX-License-Identifier: GPL-3.0-or-later
"""The 52 shapes of Apple's face tracking by their exact names, and what each is in a head model's expressions.

https://developer.apple.com/documentation/arkit/arfaceanchor/blendshapelocation. Left and right are the person's.
"""

from idto3d_shared.live_link import SHAPES as ARKIT

__all__ = ["ARKIT", "BOTH_SIDES", "TONGUE_OUT", "in_head_model", "other_side"]

BOTH_SIDES = (
    "browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp",
    "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch",
    "mouthUpperUp", "noseSneer",
)  # fmt: skip
"""Shapes with a Left and a Right."""
TONGUE_OUT = "tongueOut"
"""The shape that head models lack: see `finish.tongue`."""


def in_head_model(name: str) -> str:
    """The head model's name of a shape: eyeBlinkLeft is eyeBlink_L, browInnerUp means both of its sides there."""
    for side in ("Left", "Right"):
        if name.removesuffix(side) in BOTH_SIDES:
            return f"{name.removesuffix(side)}_{side[0]}"
    return name


def other_side(name: str) -> str:
    """The mirrored shape: eyeBlinkRight of eyeBlinkLeft, mouthRight of mouthLeft; jawOpen is its own."""
    for side, other in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(side):
            return name.removesuffix(side) + other
    return name
