# SPDX-License-Identifier: GPL-3.0-or-later
"""Four ways to light a head. A rig stands in a collection of its own; setting another one replaces it and nothing else.

A scene has one rig: lights reach every head in it, and two rigs would be too bright for both.
"""

import math
from dataclasses import dataclass
from typing import Any

import bpy

from . import own_collection, stage

KIND = "lights"


@dataclass(frozen=True)
class Lamp:
    """azimuth, elevation: degrees, from the head's front and its left; distance and side (size of the area, radius of
    a point) in heights of the head; watts for a head one metre high."""

    name: str
    kind: str
    azimuth: float
    elevation: float
    distance: float
    side: float
    watts: float
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)


_WARM, _COOL = (1.0, 0.96, 0.91), (0.92, 0.96, 1.0)

RIGS: dict[str, tuple[Lamp, ...]] = {
    "FRONT": (
        Lamp("Front key", "AREA", 25.0, 30.0, 3.2, 2.4, 120.0, _WARM),
        Lamp("Front fill", "AREA", -40.0, 5.0, 3.6, 3.2, 52.0, _COOL),
    ),
    "BACK": (
        Lamp("Back left", "AREA", 150.0, 30.0, 3.0, 1.2, 290.0),
        Lamp("Back right", "AREA", -150.0, 30.0, 3.0, 1.2, 290.0),
        Lamp("Back fill", "AREA", 0.0, 10.0, 4.0, 3.0, 25.0),
    ),
    "DIRECT": (Lamp("Direct", "POINT", 40.0, 40.0, 3.5, 0.03, 290.0),),
    "DIFFUSE": (
        *(Lamp(f"Diffuse {azimuth}", "AREA", float(azimuth), 0.0, 3.2, 3.4, 32.0) for azimuth in range(0, 360, 60)),
        Lamp("Diffuse top", "AREA", 0.0, 90.0, 3.2, 3.4, 38.0),
        Lamp("Diffuse bottom", "AREA", 0.0, -90.0, 3.2, 3.4, 14.0),
    ),
}


def set_rig(scene: Any, head: Any, rig: str) -> list[Any]:
    """Light ``head`` in ``scene`` with one of RIGS, instead of our rig that was there. Returns the lights."""
    framing = stage.frame_head(head)
    turned = math.degrees(head.matrix_world.to_euler().z)
    collection = own_collection.renew(scene, KIND, "ID-to-3D lights")
    lights = []
    for lamp in RIGS[rig]:
        data = bpy.data.lights.new(lamp.name, lamp.kind)
        if lamp.kind == "AREA":
            data.size = lamp.side * framing.height
        else:
            data.shadow_soft_size = lamp.side * framing.height
        data.use_shadow_jitter = True  # else EEVEE lights nostrils and mouth through the skin
        data.energy = lamp.watts * framing.height**2
        data.color = lamp.colour
        light = own_collection.add(collection, bpy.data.objects.new(lamp.name, data))
        stage.place(light, framing, lamp.azimuth + turned, lamp.elevation, lamp.distance * framing.height)
        lights.append(light)
    return lights


def remove_rig(scene: Any) -> bool:
    """Take our lights out of ``scene``; True when there were any."""
    return own_collection.remove(scene, KIND)
