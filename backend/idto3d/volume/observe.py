# SPDX-License-Identifier: GPL-3.0-or-later
"""What one photograph says of the hair's volume: where there is none, and how far it reaches at the outline."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ..arrays import Array
from ..fit.camera import PhotoCamera
from ..headmodel import HeadModel
from .head_view import HeadView, SeenFace, distance, head_view
from .hood import Hood
from .strands import directions

SIZE = 384  # pixels of the picture in which outlines are followed
RIM = 0.005  # metres that hair's surface goes on over skin that is seen: there the photo itself draws the border
ASIDE = 0.008  # metres from the person's outline, which is hair's, and from a face's edge, from which it does
SMOOTH = 0.0025  # metres by which outlines are smoothed
HOLE = 5e-4  # square metres: smaller holes in hair are strands in another light
TURNED = 20.0  # degrees of yaw from which the far side's length is not seen
EAR = 0.015  # metres inside the head's outline in which hair lies over an ear
STRAND = 0.008  # metres: what is narrower beside the face is an ear's rim
CUT = 0.006  # metres from the picture's edge: hair goes on beyond
BESIDE_JAW = (0.01, 0.05)  # metres below the skull's equator between which hair would be seen beside the face
LEAST_SHOWN = 0.15  # of the scalp: what shows less of it shows hair at the temples, if there is any
TIP = 1e-4  # square metres of hair below which a length is not believed
NEAR_SKIN = 0.006  # metres behind the frontmost skin that still count as seen
IN_SKIN = 0.008  # metres below the skin from which nothing is known
BEHIND_AXIS = 0.02  # metres behind the hood's axis from which clothes hide hair
FARTHEST = 0.14  # metres of the outline from the skull: beyond is something else


@dataclass(frozen=True, eq=False)
class HairView:
    """A photo's hair, (size,size) each.

    hair; outline: metres to its border, negative in hair; rim: metres that its surface goes on beyond; open: nothing is
    known (not in the photo); background: no part of the person; strands (size,size,2): how they run, see
    `strands.directions`; view: the head; curl 0..1: how much it curls.
    """

    view: HeadView
    hair: Array
    outline: Array
    rim: Array
    open: Array
    background: Array
    strands: Array
    curl: float

    @property
    def camera(self) -> PhotoCamera:
        return self.view.camera

    def sample(self, image: Array, points: Array) -> tuple[Array, Array]:
        """Bilinear values of image (size,size) where points (A,B,3) are seen, and the points' heights, (A,B)."""
        pixel, height = self.camera.project(points)
        column, row = (np.ascontiguousarray(pixel[..., k], np.float32) for k in (0, 1))
        values = cv2.remap(
            np.ascontiguousarray(image, np.float32), column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return values, height

    def look_at(self, points: Array) -> tuple[Array, Array]:
        """Whether points (A,B,3) on the skin are seen, and `outline` there, (A,B)."""
        outline, height = self.sample(self.outline, points)
        skin, _ = self.sample(self._skin_height, points)
        unknown, _ = self.sample(self.open, points)
        return (height > skin - NEAR_SKIN) & (unknown < 0.5), outline

    def hangs(self, points: Array) -> Array:
        """(A,B) metres inside the outline of hair that points (A,B,3) lie, negative outside; infinite where the photo
        has ended."""
        outside, _ = self.sample(self.open, points)
        return np.where(outside > 0.5, np.inf, -self.sample(self.outline, points)[0])

    def shows_hair(self, points: Array) -> Array:
        """(A,B) bool: points (A,B,3) on the surface of hair fall on hair, and no skin hides them."""
        outline, height = self.sample(self.outline, points)
        return (outline < 0.0) & (height > self.sample(self._skin_height, points)[0] - NEAR_SKIN)

    def shows_skin(self, points: Array) -> Array:
        """(A,B) bool: points (A,B,3) fall on the head as fitted and on the person, not beside."""
        beside, _ = self.sample(self.background | ~self.view.skin, points)
        return beside < 0.1

    def empty(self, hood: Hood, points: Array) -> tuple[Array, Array]:
        """Metres (A,B) by which points (A,B,3) lie where this photo sees no hair, negative where there may be some; and
        0..1 how surely it says so.

        Nothing is known of what the skin hides, or clothes: what lies under the skin, and behind the neck's axis.
        """
        outline, height = self.sample(self.outline - self.rim, points)
        skin, _ = self.sample(self._skin_height, points)
        background, _ = self.sample(self.background, points)
        unknown, _ = self.sample(self.open, points)
        axis = np.broadcast_to(hood.centre, points.shape).copy()
        axis[..., 1] = np.minimum(points[..., 1], hood.centre[1])
        over_axis = height - self.camera.project(axis)[1]
        face, _ = self.sample(self.view.face, points)
        under_skin = np.where(skin > -1.0, height - skin + IN_SKIN, 1.0)
        # The body is not fitted, and dressed: it hides what is behind the axis even where the model's shoulders do not.
        hidden = np.where(face > 0.5, under_skin, np.minimum(under_skin, over_axis + BEHIND_AXIS))
        hidden = np.where(background > 0.5, 1.0, hidden)
        out = np.where(outline > 0, np.minimum(outline, hidden), outline)
        # Hair of the front is seen as such; of what it hides only the outline tells.
        sure = np.where(outline > 0, hidden > 0, np.exp(np.minimum(outline, 0.0) / 0.01))
        return np.where(unknown > 0.5, -1.0, out), np.where(unknown > 0.5, 0.0, sure)

    def rim_points(self, hood: Hood) -> tuple[Array, Array, Array]:
        """turn, down and radius (K,) of the hair's outline against the background."""
        grown = cv2.dilate((self.background & ~self.open).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        grown &= distance(~self.open, self.camera.scale) > CUT  # the photo's own edge is no outline
        turn, down, radius = hood.coordinates(self._nearest(hood, *np.nonzero(self.hair & grown)))
        kept = (down < hood.reach) & (radius < hood.skull + FARTHEST)
        return turn[kept], down[kept], radius[kept]

    def lengths(self, hood: Hood, as_shown: bool = False) -> tuple[float, float]:
        """`down` to which hair beside the face comes on the person's left and right; infinite where the photo ends
        below it, or as_shown as far as the photo does; 0 where there is none, NaN on a side that lies outside the photo
        or that the face turns away from the camera."""
        beside = ~(self.view.skin & self.view.face) | (self.view.within < EAR)
        rows, columns = np.nonzero(_wide(self.hair & beside, self.camera.scale))
        points = self._nearest(hood, rows, columns)
        _, down, _ = hood.coordinates(points)
        left = points[:, 0] > hood.centre[0]
        turned = self.camera.angles[0]
        low = np.minimum(rows + int(np.ceil(CUT * self.camera.scale)), len(self.open) - 1)
        if not as_shown:
            down = np.where(self.open[low, columns], np.inf, down)
        ends = []
        for side, own, away in ((1, left, turned > TURNED), (-1, ~left, turned < -TURNED)):
            end = self._end(down[own & (down > hood.equator)])
            ends.append(np.nan if away or (end == 0.0 and not self._shows(hood, side)) else end)
        return ends[0], ends[1]

    def lowest(self, hood: Hood) -> float:
        """y, head frame, to which hair comes; minus infinity where the picture ends before it does."""
        points = self._nearest(hood, *np.nonzero(self.hair))
        if not len(points):
            return float(hood.centre[1])
        return -np.inf if np.inf in self.lengths(hood) else float(np.percentile(points[:, 1], 0.5))

    def _shows(self, hood: Hood, side: int) -> bool:
        """The photo reaches beyond the head beside the jaw, on the person's left (1) or right (-1)."""
        down = hood.equator + np.linspace(*BESIDE_JAW, 5)[None]
        beside = hood.point(np.full_like(down, side * 0.5 * np.pi), down, np.full_like(down, hood.skull))
        pixel, _ = self.camera.project(beside)
        inside = ((pixel > 0) & (pixel < len(self.open) - 1)).all(-1)
        return bool((inside & (self.sample(self.open, beside)[0] < 0.5)).mean() > 0.5)

    @property
    def shown(self) -> float:
        """Share of the scalp that is in the picture, LEAST_SHOWN at least."""
        return max(self.view.scalp_shown, LEAST_SHOWN)

    @property
    def area(self) -> float:
        """Square metres of hair in the plane of the head, were all of the scalp in the picture."""
        return float(self.hair.sum()) / self.camera.scale**2 / self.shown

    def _end(self, down: Array) -> float:
        count = int(TIP * self.camera.scale**2) + 1
        return float(np.sort(down)[-count]) if len(down) > 4 * count else 0.0

    @cached_property
    def _skin_height(self) -> Array:
        """The view's height, a little over the head's outline: between seen and nothing lies no height."""
        height = self.view.height
        over = np.where(np.isfinite(height), height, cv2.dilate(height, np.ones((5, 5), np.uint8)))
        return np.where(np.isfinite(over), over, -10.0)

    def _nearest(self, hood: Hood, rows: Array, columns: Array) -> Array:
        """(K,3): where the rays of pixels come nearest to the hood's axis, or to its centre if that is above it: there
        an outline touches a round shape."""
        camera = self.camera
        flat = np.stack([columns - camera.shift[0], camera.shift[1] - rows], -1) / camera.scale
        start = np.concatenate([flat, np.zeros((len(flat), 1))], 1) @ camera.rotation + camera.centre
        step = np.concatenate([-flat * camera.inverse_distance, np.ones((len(flat), 1))], 1) @ camera.rotation
        offset, level = start - hood.centre, np.array([1.0, 0.0, 1.0])
        to_axis = start - step * ((offset * step * level).sum(1) / (step**2 * level).sum(1))[:, None]
        to_centre = start - step * ((offset * step).sum(1) / (step**2).sum(1))[:, None]
        return np.where((to_axis[:, 1] > hood.centre[1])[:, None], to_centre, to_axis)


def observe(face: SeenFace, model: HeadModel, vertices: Array, camera: PhotoCamera, mask: Array) -> HairView:
    """mask (S,S): hair in the face's picture; vertices (P,3): the head as on the photo; camera: of the picture."""
    size = min(SIZE, face.picture.shape[0])
    view = head_view(face, model, vertices, camera, size)
    scale = view.camera.scale
    soft = cv2.resize(np.asarray(mask, np.float32), (size, size), interpolation=cv2.INTER_AREA)
    hair = soft > 0.5
    # Below the eyes strips along the face are its shaded edge.
    hair = without_holes(hair & ((view.above > view.eye) | _wide(hair, scale)), scale)
    outline = distance(~hair, scale) - distance(hair, scale)
    outline = cv2.GaussianBlur(outline.astype(np.float32), (0, 0), SMOOTH * scale)
    person = cv2.resize(face.person.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) > 0.5
    # The masks of person and hair are soft: between the two borders lies a line of pixels that are neither.
    beyond = cv2.dilate((~person).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    inner = distance(person | hair | ~view.inside, scale) > ASIDE
    inner &= (view.scalp > 0.5) | (view.within > ASIDE)
    over_skin = cv2.blur((view.skin & inner).astype(np.float32), (5, 5))
    strands, curl = directions(face.picture, np.asarray(mask, np.float32), camera.scale)
    strands = cv2.resize(strands, (size, size), interpolation=cv2.INTER_LINEAR)
    return HairView(view, hair, outline, RIM * over_skin, ~view.inside, beyond & ~hair & view.inside, strands, curl)


def _wide(hair: Array, scale: float) -> Array:
    """Hair (size,size) bool without what is narrower than an ear's rim."""
    width = 2 * int(0.5 * STRAND * scale) + 1
    return cv2.morphologyEx(hair.astype(np.uint8), cv2.MORPH_OPEN, np.ones((width, width), np.uint8)) > 0


def without_holes(hair: Array, scale: float) -> Array:
    """Hair (size,size) bool without small holes; scale: pixels a metre."""
    _, label, stats, _ = cv2.connectedComponentsWithStats((~hair).astype(np.uint8), connectivity=4)
    small = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] < HOLE * scale**2)
    return hair | (np.isin(label, small) & (label > 0))
