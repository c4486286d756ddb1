# SPDX-License-Identifier: GPL-3.0-or-later
"""Hair from the photographs: masks, a volume carved from them, its surface, and the photos' strands on it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from .arrays import Array
from .evidence.hair_colour import HairColour, HairPhoto, hair_colour, paint_hair
from .finish import HairPiece
from .fit.subject import Fitted
from .headmodel import HeadModel
from .mesh.attach import Attachment
from .mesh.texels import make_texels
from .notices import Notice
from .volume.hair import HairVolume, carve_hair
from .volume.hair_mask import hair_mask
from .volume.hair_mesh import HairMesh, attach_to_scalp, extract, opacity, with_rim
from .volume.hang import hung
from .volume.hood import read_at
from .volume.strands import disk_place, strand_pattern

LOCKS = 0.7  # weight of locks beside single strands in the painted pattern
STRAND = 0.0012  # metres: width of a painted strand, at least a texel and a half
ROOTS_SIZE = 1024  # side of the pattern of strands on skin
FADE = (0.006, 0.011)  # metres to both sides over which hair grows thin at its line, and where it is cut to the neck
OUTERMOST = 0.006  # metres below the outermost skin within which skin may have hair, so that it grows behind the ears
SOLID = ("face", "back_head")
"""Parts that may occlude hair."""


@dataclass(frozen=True, eq=False)
class HairSeen:
    """masks: of each photo, (S,S) 0..1; colour: of the hair; volume: carved from the masks; notices: of photos whose
    hair is another style."""

    masks: tuple[Array, ...]
    colour: HairColour
    volume: HairVolume
    notices: tuple[Notice, ...] = ()

    @cached_property
    def _pattern(self) -> Array:
        ground = self.volume.ground
        return strand_pattern(ground.hood, ground.flow, ground.curl, ROOTS_SIZE, STRAND)

    def roots(self, points: Array) -> tuple[Array, Array]:
        """(N,) 0..1: hair's cover at points (N,3) of the neutral head's skin, and the pattern of its strands (N,)."""
        ground = self.volume.ground
        hood = ground.hood
        place, radius = hood.places(points), hood.coordinates(points)[2]
        strands = read_at(self._pattern, disk_place(hood, place, ROOTS_SIZE))
        fade = FADE[0] + (FADE[1] - FADE[0]) * read_at(ground.tapered, place)
        even = np.clip(0.5 + 0.5 * read_at(ground.grown, place) / fade, 0.0, 1.0)
        cover = even + even * (1.0 - even) * np.clip(strands, -1.0, 1.0)
        cover *= radius > read_at(ground.skin, place) - OUTERMOST
        return cover.astype(np.float32), strands.astype(np.float32)


@dataclass(frozen=True, eq=False)
class HairStart:
    """A mesh of hair on a head, its attachment to the scalp, and of its outer side maps (S,S,5), alpha (S,S) and seen
    (S,S)."""

    mesh: HairMesh
    attachment: Attachment
    maps: Array
    alpha: Array
    seen: Array

    def moved(self, motion: Array) -> Array:
        """(V,3) for a motion (P,3) of the head model."""
        return self.attachment.reader(len(motion)) @ motion.astype(np.float64)

    def at_vertices(self, image: Array) -> Array:
        """(V,) values of an image (S,S)."""
        last = len(image) - 1
        column, row = np.rint(self.mesh.uv * [last, -last] + [0, last]).astype(int).T
        return image[row, column]

    @property
    def solid(self) -> Array:
        """(F',3) triangles that are opaque by more than half."""
        return self.mesh.triangles[self.at_vertices(self.alpha)[self.mesh.triangles].mean(1) > 0.5]

    def piece(self, skin: tuple[Array, Array], motion: Array, offsets: Mapping[str, Array], maps: Array) -> HairPiece:
        """What ships, where the head has moved by motion (P,3) since the mesh was made. skin: its vertices (P,3) now,
        and triangles (F,3) of what may lift hair."""
        mesh, away = self.mesh, self.attachment.gap
        vertices = mesh.vertices + self.moved(motion)
        motions = ((offset, self.moved(offset)) for offset in offsets.values())
        hanging = hung(vertices, away, skin, motions) if offsets else []  # a preview has none, and waits for nothing
        own = [motion.astype(np.float32) for motion in hanging]
        return HairPiece(
            vertices,
            np.stack(own) if own else np.zeros((0, len(mesh.vertices), 3)),
            mesh.triangles,
            mesh.uv,
            maps,
            self.alpha,
            self.at_vertices(self.seen),
        )


def see_hair(model: HeadModel, fitted: Fitted) -> HairSeen:
    """Segment the hair in every photo and carve its volume from all of them."""
    fit = fitted.fit
    masks = tuple(
        hair_mask(face, model, fit.posed(model, photo), photo.camera)
        for face, photo in zip(fitted.faces, fit.photos, strict=True)
    )
    volume = carve_hair(model, fit, fitted.faces, masks)
    grey = [face.grey for face in fitted.faces]
    colour = hair_colour(list(zip(fitted.projected, masks, strict=True)), grey, volume.photos)
    return HairSeen(masks, colour, volume, tuple(_other_styles([face.name for face in fitted.faces], volume.photos)))


def _other_styles(names: Sequence[str], used: Sequence[int]) -> Iterator[Notice]:
    others = [name for k, name in enumerate(names) if k not in used]
    if others:
        chosen = ", ".join(names[k] for k in used)
        text = f"The hair in {', '.join(others)} is worn otherwise than in {chosen}; the head has the latter."
        yield Notice("W_HAIR_DIFFERS", text)


def paint(model: HeadModel, fitted: Fitted, neutral: Array, hair: HairSeen, size: int) -> HairStart | None:
    """The mesh of a volume on the head neutral (P,3), painted from the photographs; None for a bald head."""
    mesh = extract(hair.volume)
    if mesh is None:
        return None
    attachment = attach_to_scalp(model, neutral, mesh.vertices)
    outer = mesh.triangles[: mesh.outer]
    texels = make_texels(mesh.uv, outer, outer, size)
    ground = hair.volume.ground
    pattern = strand_pattern(ground.hood, ground.flow, ground.curl, size, STRAND)
    alpha = opacity(ground.hood, mesh.ends, pattern)
    empty = np.zeros((size, size, 5), np.float32)
    start = HairStart(mesh, attachment, empty, alpha, empty[..., 0])
    photos = []
    for k in sorted(hair.volume.photos, key=lambda k: fitted.fit.photos[k].weight):
        photo, projected = fitted.fit.photos[k], fitted.projected[k]
        posed = fitted.fit.posed(model, photo)
        own = mesh.vertices + start.moved(posed - neutral)
        inside = fitted.faces[k].inside.astype(np.float32)
        picture, mask = hair.colour.pictures[k], hair.masks[k]
        photos.append(HairPhoto(photo.camera, projected, own, mask, picture, posed, inside))
    solid = model.triangles_of(*SOLID)
    locks = cv2.resize(mesh.locks, (size, size), interpolation=cv2.INTER_LINEAR)
    strands = pattern + LOCKS * locks
    strands /= strands.std()
    painted = paint_hair(texels, mesh.triangles, photos, solid, hair.colour, strands)
    alpha = with_rim(ground, mesh.border, alpha, pattern, painted.cover, painted.faced)
    return replace(start, maps=painted.maps, alpha=alpha, seen=painted.seen)
