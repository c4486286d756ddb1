# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrinkle maps: lines where keys compress the skin, and how much each key shows of them.

Groups of lines that do not overlap share a normal map. A mask's channel selects the lines of one group or side; its
fade says how much each key (ARKit's, expressions, visemes) shows of them, by how much it compresses the skin across
these lines.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..arrays import Array
from ..bundle import Fade, Wrinkles
from ..mesh.solid_noise import solid_noise
from ..mesh.strain import at_vertices, lengths, strain
from ..mesh.texels import Texels
from ..ramps import smoothstep
from .creases import Chart, Pattern, anisotropy, blurred, chart_of, creases, folding

Bytes = NDArray[np.uint8]

LEAST, FULL = 0.03, 0.2  # relative shortening at which lines begin, and have full depth
OFF_EYES = (0.0045, 0.0085)  # metres from an eyeball at which lines begin (none on lids' edges), and have full depth
OFF_TEETH = (0.006, 0.01)  # the same of teeth, for the inside of lips
SOFT = 0.12  # of the distance from eyes to teeth: the soft border of a group's region
SHOWN, MOST_SEEN = 0.04, 1.2  # log darkness that counts as one standard deviation of the noise; the most that counts
LEAST_GAIN = 0.12  # of a group's own keys' compression: below it a key's gain is 0
TELLS_AGE = "squint_left"
LINED, AGEING, AGED = 1.2, 2.5, (0.4, 1.8)
"""Anisotropy of the photographs' detail beside the eyes (change across the lines over change along them) with which all
lines have full depth, how fast depth grows with it, and its limits: there lines show first, and no hair casts a shadow.
On six photographs two men whose skin has lines had 1.24 and 1.26, four women .84, .84, .99 (blurred) and 1.1."""
ROUGH = 0.1  # log deviation of the photographs' detail above which it is hair rather than lines
HAIR = 0.15  # log darkness beyond which a place is no line
# Of a photograph's folds: metres of depth a log of darkness, the most that counts, metres over which they are smoothed.
SHOWN_DEPTH, SHOWN_MOST, SHOWN_BLUR = 1e-3, 0.4, 5e-4
SAMPLE = 4  # only every fourth triangle is used to measure a key's compression
STEEPEST = 0.6
DEEPEST = 6e-4  # metres of depth that 0 in a map's fourth channel stands for


@dataclass(frozen=True)
class Channel:
    """A part of a group's skin that fades in separately: the part that `keys` compress."""

    name: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Lines of one kind. across, up: the region's limits from the midline and above the eyes, in distances from eyes to
    teeth."""

    channels: tuple[Channel, ...]
    across: tuple[float, float]
    up: tuple[float, float]
    pattern: Pattern


def _sides(name: str, key: str) -> tuple[Channel, Channel]:
    return Channel(f"{name}_left", (f"{key}Left",)), Channel(f"{name}_right", (f"{key}Right",))


_FROWN = (Channel("frown", ("browDownLeft", "browDownRight")),)
_FOREHEAD = (Channel("forehead", ("browInnerUp",)), *_sides("forehead", "browOuterUp"))
MAPS: Mapping[str, tuple[Group, ...]] = {
    "wrinkles_down": (
        Group(_FROWN, (0, 0.22), (0.05, 0.3), Pattern(7e-3, 0.02, 1.4e-3, 3.5e-4)),
        Group(_sides("squint", "cheekSquint"), (0.25, 1.2), (-0.4, 0.22), Pattern(4.2e-3, 0.016, 8e-4, 1.8e-4)),
        Group(_sides("smile", "mouthSmile"), (0.2, 0.85), (-1.5, -0.5), Pattern(9e-3, 0.03, 2e-3, 2e-4)),
        Group((Channel("chin", ("mouthShrugLower",)),), (0, 0.5), (-1.85, -1.4), Pattern(3.5e-3, 1e-3, 9e-4, 2.5e-4)),
    ),
    "wrinkles_up": (
        Group(_FOREHEAD, (0, 1.0), (0.42, 1.05), Pattern(9e-3, 0.045, 1.6e-3, 3.5e-4)),
        Group(_sides("sneer", "noseSneer"), (0, 0.42), (-0.6, 0.3), Pattern(4e-3, 0.014, 8e-4, 1.8e-4)),
        Group((Channel("lips", ("mouthPucker",)),), (0, 0.5), (-1.55, -0.8), Pattern(2.8e-3, 9e-3, 6e-4, 2e-4)),
    ),
}
KEYS = frozenset(key for groups in MAPS.values() for g in groups for c in g.channels for key in c.keys)


@dataclass(frozen=True, eq=False)
class Face:
    """The skin: texels of its map, and of a small one for masks, on triangles (F,3) of vertices (V,3), head frame;
    offsets (K,V,3) of names (K,); eyes and teeth (N,3): their vertices."""

    texels: Texels
    small: Texels
    vertices: Array
    triangles: Array
    offsets: Array
    names: tuple[str, ...]
    eyes: Array
    teeth: Array


def make_wrinkles(face: Face, albedo: Array, shown: Array) -> Wrinkles | None:
    """The wrinkles of a face with albedo (S,S,3) sRGB 0..1 of its texels' size; None for a head without the `KEYS`.
    Depth depends on the person's own lines: see `AGED`. shown (S,S): log darkness of an expression's folds in
    the photographs, which the albedo does not have; keys fold the skin there, too."""
    if not KEYS <= {*face.names}:
        return None
    skin = _Skin(face, albedo, shown)
    heights = {name: np.zeros((2, *albedo.shape[:2]), np.float32) for name in MAPS}
    masks, fades = {}, []
    for name, groups in MAPS.items():
        folds = [fold for n, group in enumerate(groups) for fold in skin.fold(group, 40 + n, heights[name])]
        shares = face.small.at(np.stack([fold.shortened for fold in folds], 1))
        shares /= np.maximum(shares.sum(1, keepdims=True), LEAST)
        image = face.small.spread(shares)
        for first in range(0, len(folds), 3):
            mask = f"{name}_mask_{first // 3 + 1}"
            masks[mask] = np.zeros((*image.shape[:2], 3), np.uint8)
            for channel, fold in enumerate(folds[first : first + 3]):
                masks[mask][..., channel] = np.rint(255 * image[..., first + channel])
                fades.append(Fade(name, mask, channel, fold.gains))
    depth = float(np.clip(1 + AGEING * (skin.lined - LINED), *AGED))
    maps = {n: _packed(skin.chart, depth * made + seen, face.texels) for n, (made, seen) in heights.items()}
    return Wrinkles(maps, masks, tuple(fades))


@dataclass(frozen=True, eq=False)
class _Fold:
    """A channel's greatest relative shortening at vertices (V,), and its gains by key."""

    shortened: Array
    gains: Mapping[str, float]


class _Skin:
    """What all groups share, computed once."""

    def __init__(self, face: Face, albedo: Array, shown: Array) -> None:
        self.face, self.chart = face, chart_of(face.texels, face.vertices)
        self.light = np.log(np.maximum(albedo.mean(2) ** 2.2, 1e-3)).astype(np.float32)
        self.texel = float(np.median(self.chart.step[..., 0]))
        self.shown = blurred(np.minimum(shown, SHOWN_MOST), SHOWN_BLUR / self.texel)
        middle = face.eyes.mean(0)
        unit = float(middle[1] - face.teeth[:, 1].mean())
        self.lined = 1.0
        self.across = np.abs(face.vertices[:, 0]) / unit
        self.up = (face.vertices[:, 1] - middle[1]) / unit
        self.off = np.ones(len(face.vertices))
        for points, reach in ((face.eyes, OFF_EYES), (face.teeth, OFF_TEETH)):
            away = cKDTree(points).query(face.vertices, distance_upper_bound=reach[1])[0]
            self.off *= smoothstep(np.minimum(away, reach[1]), *reach)

    def fold(self, group: Group, seed: int, height: Array) -> list[_Fold]:
        """Add a group's lines to height (2,S,S) in metres, those made up and those that photographs show; returns its
        channels."""
        face, texels = self.face, self.face.texels
        near = self._window(group)
        chosen: Array = near[face.triangles].max(1) > 0
        triangles = face.triangles[chosen]
        moved = [sum(face.offsets[face.names.index(key)] for key in c.keys) + face.vertices for c in group.channels]
        strains = [at_vertices(strain(face.vertices, m, triangles), face.vertices, triangles) for m in moved]
        strains = [one * near[:, None, None] for one in strains]
        total = np.asarray(sum(strains), np.float32)
        part = texels.only(chosen[texels.triangle])
        six = part.image(part.at(total.reshape(-1, 9)[:, [0, 4, 8, 1, 5, 2]]))
        window = _around(part)
        chart = self.chart[window]
        shortened, lines = folding(chart, six[window])
        noise = solid_noise(chart.points.reshape(-1, 3), group.pattern.apart, seed).reshape(shortened.shape)
        dark, inside = self._dark(group, window), shortened > LEAST
        # strong contrast all around, as in brows, beards and along a hairline, shows no lines
        rough = blurred(dark * dark, group.pattern.apart / self.texel) / ROUGH**2
        seed_of_lines = noise - MOST_SEEN * np.tanh(dark / SHOWN / MOST_SEEN) / (1 + rough)
        shape = creases(chart, seed_of_lines, lines, inside, group.pattern)
        if group.channels[0].name == TELLS_AGE:
            self.lined = anisotropy(chart, dark, lines, inside & (np.abs(dark) < HAIR))
        share = np.sqrt(smoothstep(shortened, LEAST, FULL))
        height[0][window] += group.pattern.depth * share * shape
        height[1][window] -= SHOWN_DEPTH * share * self.shown[window]
        some = triangles[::SAMPLE]
        _, across = _across(total, face.vertices, some)
        shorter = 1 - lengths(face.vertices, face.offsets, some, across)
        used = np.unique(triangles)
        out = []
        for channel, one in zip(group.channels, strains, strict=True):
            own_share = np.zeros(len(near), np.float32)
            own_share[used] = np.maximum(-np.linalg.eigvalsh(one[used])[:, 0], 0)
            weight, _ = _across(one, face.vertices, some)  # of this channel's skin alone: the other side has its own
            out.append(_Fold(own_share, self._gains(channel, shorter @ weight)))
        return out

    def _window(self, group: Group) -> Array:
        """(V,) 0..1: the group's region."""
        out = self.off
        for place, (low, high) in ((self.across, group.across), (self.up, group.up)):
            out = out * smoothstep(place, low - SOFT, low) * smoothstep(-place, -high - SOFT, -high)
        return np.asarray(out)

    def _dark(self, group: Group, window: tuple[slice, slice]) -> Array:
        """Log darkness (S,S) of the photographs' detail under its surround, cropped to the window."""
        light, apart = self.light[window], group.pattern.apart / self.texel
        return blurred(light, apart) - blurred(light, 0.1 * apart)

    def _gains(self, channel: Channel, by_key: Array) -> Mapping[str, float]:
        names = self.face.names
        gains = by_key / max(float(sum(by_key[names.index(key)] for key in channel.keys)), 1e-12)
        return {n: round(float(min(g, 1.0)), 3) for n, g in zip(names, gains, strict=True) if g >= LEAST_GAIN}


def _across(strain: Array, vertices: Array, triangles: Array) -> tuple[Array, Array]:
    """(F,) shortening times area of triangles, and its direction (F,3)."""
    values, vectors = np.linalg.eigh(strain[triangles].mean(1))
    first, second, third = (vertices[triangles[:, k]] for k in range(3))
    normal = np.cross(second - first, third - first)
    area = np.linalg.norm(normal, axis=1)
    normal = normal / np.maximum(area, 1e-20)[:, None]
    across = vectors[:, :, 0] - normal * (vectors[:, :, 0] * normal).sum(1, keepdims=True)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    return np.maximum(-values[:, 0], 0) * area, across


def _packed(chart: Chart, height: Array, texels: Texels) -> Bytes:
    slope = np.clip(chart.slope(height), -STEEPEST, STEEPEST)
    normal = np.concatenate([-slope, np.ones_like(slope[..., :1])], 2)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    depth = np.clip(1 + height / DEEPEST, 0, 1)
    packed = np.dstack([normal * 0.5 + 0.5, depth])
    return np.rint(255 * texels.padded(packed)).astype(np.uint8)


def _around(texels: Texels) -> tuple[slice, slice]:
    """The window of the map that contains all texels."""
    if not len(texels.index):
        return slice(0, 2), slice(0, 2)
    rows, columns = divmod(texels.index, texels.size)
    return slice(max(rows.min() - 4, 0), rows.max() + 5), slice(max(columns.min() - 4, 0), columns.max() + 5)
