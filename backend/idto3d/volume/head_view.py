# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the parts of a fitted head lie in its photograph: what can be told of a pixel by its place alone."""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from scipy.ndimage import binary_fill_holes

from ..arrays import Array
from ..fit.camera import PhotoCamera
from ..fit.visibility import draw_depth, resized
from ..headmodel import HeadModel

HOLES = 25  # pixels: eyes and mouths are smaller
# MediaPipe's numbers
CHIN, LEFT_EDGE, RIGHT_EDGE = 152, 454, 234
BROWS, EYES, MOUTH = (105, 334, 66, 296), (33, 263), (61, 291)
LEFT_BROW = (336, 296, 334, 293, 300, 276, 283, 282, 295, 285)
RIGHT_BROW = (107, 66, 105, 63, 70, 46, 53, 52, 65, 55)
LEFT_EYE, RIGHT_EYE = (263, 387, 385, 362, 380, 373), (33, 160, 158, 133, 153, 144)
FOREHEAD = (107, 108, 151, 337, 336, 9)
CHEEKS_AND_NOSE = (116, 345, 117, 346, 118, 347, 50, 280, 205, 425, 6, 168, 4, 1, 2, 98, 327, 164, 119, 348, 187, 411)


class SeenFace(Protocol):
    """What this room needs of a `Face`."""

    @property
    def picture(self) -> Array:
        """(S,S,3) uint8."""

    @property
    def inside(self) -> Array:
        """(S,S) bool: of the photo."""

    @property
    def person(self) -> Array:
        """(S,S) 0..1."""

    @property
    def landmarks(self) -> Array:
        """(478,2) pixels."""


@dataclass(frozen=True, eq=False)
class HeadView:
    """A photo of `size` x `size` pixels and the head fitted to it, (size,size) each.

    colour (...,3) float32 CIE L*a*b*, L 0..100; inside: of the photo; person: mask of this person alone; skin: the
    model is seen there, height metres towards the camera over its centre, -inf elsewhere; face: but not the back of the
    head or the neck, or else scalp; scalp 0..1; outside, within: metres to the head's outline, 0 on the other side;
    across, above: metres along the head's axes in the picture's plane, at the head's depth; sure_skin: cheeks and nose;
    forehead: its middle, skin or fringe; features (4,size,size): each brow and each eye; chin, mouth, eye, brow,
    middle: where these lie on `above` and, the last, on `across`.
    """

    camera: PhotoCamera
    colour: Array
    inside: Array
    person: Array
    skin: Array
    height: Array
    face: Array
    scalp: Array
    outside: Array
    within: Array
    across: Array
    above: Array
    sure_skin: Array
    forehead: Array
    features: Array
    chin: float
    mouth: float
    eye: float
    brow: float
    middle: float

    @property
    def scalp_shown(self) -> float:
        """Share of the scalp that is in the picture."""
        scalp = self.scalp > 0.5
        return float((scalp & self.inside).sum()) / max(int(scalp.sum()), 1)

    def metres_into(self, region: Array) -> Array:
        """Metres to the border of region (size,size) bool from within, 0 outside."""
        return distance(region, self.camera.scale)


def distance(region: Array, scale: float) -> Array:
    """Metres from each pixel of region (h,w) bool to the nearest pixel outside; scale: pixels a metre."""
    return cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 3) / scale


def head_view(face: SeenFace, model: HeadModel, vertices: Array, camera: PhotoCamera, size: int) -> HeadView:
    """vertices (P,3): the head as on the photo; camera: of the face's picture; size: of the view, at most that."""
    whole = face.picture.shape[0]
    small = resized(camera, size / whole)
    picture = cv2.resize(face.picture, (size, size), interpolation=cv2.INTER_AREA)
    colour = cv2.cvtColor(picture.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)
    skin, height, front, scalp = _draw(model, vertices, small, size)

    up = small.rotation[:2, 1] / max(float(np.linalg.norm(small.rotation[:2, 1])), 1e-6)
    right = np.array([up[1], -up[0]])
    rows, columns = np.mgrid[:size, :size]
    place = np.stack([columns - small.shift[0], small.shift[1] - rows], -1) / small.scale
    marks = (face.landmarks + 0.5) * (size / whole) - 0.5
    mark = np.stack([marks[:, 0] - small.shift[0], small.shift[1] - marks[:, 1]], -1) / small.scale
    inside = cv2.resize(face.inside.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) > 0.99
    person = cv2.resize(face.person.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    return HeadView(
        camera=small,
        colour=colour,
        inside=inside,
        person=_touching(inside & (person > 0.5), skin),
        skin=skin,
        height=height,
        face=front | (scalp > 0.02),
        scalp=scalp,
        outside=distance(~skin, small.scale),
        within=distance(skin, small.scale),
        across=place @ right,
        above=place @ up,
        sure_skin=_hull(marks, CHEEKS_AND_NOSE, size),
        forehead=_hull(marks, FOREHEAD, size),
        features=np.stack([_hull(marks, wanted, size) for wanted in (LEFT_BROW, RIGHT_BROW, LEFT_EYE, RIGHT_EYE)]),
        chin=float(mark[CHIN] @ up),
        mouth=float((mark[list(MOUTH)] @ up).mean()),
        eye=float((mark[list(EYES)] @ up).mean()),
        brow=float((mark[list(BROWS)] @ up).mean()),
        middle=float((mark[[LEFT_EDGE, RIGHT_EDGE]] @ right).mean()),
    )


def _hull(marks: Array, wanted: tuple[int, ...], size: int) -> Array:
    out = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(out, cv2.convexHull(np.rint(marks[list(wanted)]).astype(np.int32)), 1)
    return out > 0


def _draw(model: HeadModel, vertices: Array, camera: PhotoCamera, size: int) -> tuple[Array, Array, Array, Array]:
    # All of it: through holes for eyes and mouth the inside of the skull would be seen.
    triangles = model.triangles
    buffer = draw_depth(camera, vertices, triangles, size)
    hit = buffer.triangle >= 0
    corners = triangles[buffer.triangle[hit]]
    scalp, front = np.zeros((size, size), np.float32), np.zeros((size, size), bool)
    scalp[hit] = model.scalp[corners].mean(1)
    front[hit] = ~model.vertices_of("back_head")[corners].all(1)
    skin, front = binary_fill_holes(hit), binary_fill_holes(front)
    height = np.where(hit, buffer.height, -np.inf).astype(np.float32)
    around = cv2.dilate(height, np.ones((HOLES, HOLES), np.uint8))
    return skin, np.where(skin & ~hit, around, height), front, scalp


def _touching(mask: Array, place: Array) -> Array:
    """The connected part of mask that covers most of place."""
    _, label = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    count = np.bincount(label[place & mask], minlength=2)
    return label == max(int(count.argmax()), 1)
