# SPDX-License-Identifier: GPL-3.0-or-later
"""The head as tensors on one device, which the stages move and paint."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..arrays import Array
from ..headmodel import HeadModel
from ..headmodel.follow import FILMS, Anchor, Body, find_body
from ..headmodel.model import SKIN_PARTS
from ..mesh.surface import vertex_normals
from ..render.skin import Textured
from ..volume.hair_mesh import attach_to_scalp
from .device import to_device
from .hair import Hair, SceneHair
from .views import View

HIDDEN = (*FILMS, "iris")
"""Parts that are not rendered for priors: films, and the iris, which is painted on the front of the eyeball."""
HAIR = "hair"
"""The name of hair's material."""


class SeenMaps(Protocol):
    """What the photographs show: material to map (S,S,5) and to `seen` (S,S), 0..1; vertex_seen (P,)."""

    @property
    def maps(self) -> Mapping[str, Array]: ...
    @property
    def seen(self) -> Mapping[str, Array]: ...
    @property
    def vertex_seen(self) -> Array: ...


@dataclass(frozen=True, eq=False)
class Scene:
    """neutral (P,3) metres; displacements (E,P,3) of the expressions, the first, neutral's, zero; seen (P,) 0..1; body:
    what moves by itself; skin: the head model's faces that pictures show, in its materials' order; maps: material to
    (S,S,5) albedo sRGB, roughness, specular, 0..1, of side 1 where a material is one colour; map_seen: material to
    (S,S) 0..1, of those that the texture stage paints; hair: the volume that the geometry stage carves; hair_mesh: the
    mesh that the texture stage paints.
    """

    model: HeadModel
    neutral: Tensor
    displacements: Tensor
    seen: Tensor
    body: Body
    skin: Textured
    maps: Mapping[str, Tensor]
    map_seen: Mapping[str, Tensor]
    hair: Hair | None = None
    hair_mesh: SceneHair | None = None

    @property
    def device(self) -> torch.device:
        return self.neutral.device

    @property
    def materials(self) -> tuple[str, ...]:
        """Names in the order of `textured().material`: hair comes last."""
        return (*(m.name for m in self.model.materials), *((HAIR,) if self.hair_mesh is not None else ()))

    def posed(self, expression: int) -> Tensor:
        """(P,3) the head model in one of the expressions."""
        return self.neutral + self.displacements[expression]

    def vertices(self, expression: int) -> Tensor:
        """The vertices of `textured()` in one of the expressions: the head model's, then the hair mesh's."""
        posed = self.posed(expression)
        if self.hair_mesh is None:
            return posed
        motion = self.displacements[expression][self.body.vertices]
        return torch.cat([posed, self.hair_mesh.vertices + self.hair_mesh.anchor(motion)])

    def textured(self) -> Textured:
        """The faces of skin and hair mesh."""
        if self.hair_mesh is None:
            return self.skin
        skin, hair = self.skin, self.hair_mesh.faces
        return Textured(
            torch.cat([skin.triangles, hair.triangles + len(self.neutral)]),
            torch.cat([skin.uv, hair.uv]),
            torch.cat([skin.triangles_uv, hair.triangles_uv + len(skin.uv)]),
            torch.cat([skin.material, torch.full_like(hair.material, len(self.materials) - 1)]),
        )


def make_scene(model: HeadModel, neutral: Array, displacements: Array, evidence: SeenMaps) -> Scene:
    """A scene without hair, on the CPU (`device.to_device` brings it elsewhere): neutral (P,3), displacements (E,P,3),
    neutral's zeros first. Materials without evidence get the model's own colour."""
    shown = ~model.faces_of(*HIDDEN)[model.triangle_quad]
    plain = {m.name: np.array([[[*m.albedo, m.roughness, m.specular]]]) for m in model.materials}
    return Scene(
        model,
        _tensor(neutral),
        _tensor(displacements),
        _tensor(evidence.vertex_seen),
        find_body(model, np.asarray(neutral, np.float64)),
        Textured(
            torch.from_numpy(model.triangles[shown]),
            _tensor(model.uv),
            torch.from_numpy(model.triangles_uv[shown]),
            torch.from_numpy(model.material[model.triangle_quad][shown]),
        ),
        {name: _tensor(values) for name, values in {**plain, **evidence.maps}.items()},
        {name: _tensor(values) for name, values in evidence.seen.items()},
    )


def with_hair(scene: Scene, points: Array, tets: Array, sdf: Array, seen: Array | None = None) -> Scene:
    """The scene with a volume of hair, see `Hair`; without `seen` (N,) no photograph shows it."""
    whole = np.zeros(len(points), np.float32) if seen is None else seen
    tensors = (_tensor(points), torch.from_numpy(np.asarray(tets, np.int64)), _tensor(sdf), _tensor(whole))
    return replace(scene, hair=to_device(Hair(*tensors, _anchor(scene, points)), scene.device))


def with_hair_mesh(scene: Scene, vertices: Array, faces: tuple[Array, Array, Array], look: Array, seen: Array) -> Scene:
    """The scene with the mesh of its hair: vertices (V,3) with neutral; faces: triangles (F,3), uv (N,2), triangles_uv
    (F,3); look (S,S,5) and seen (S,S), the map of its material."""
    triangles, uv, triangles_uv = faces
    textured = Textured(
        torch.from_numpy(np.asarray(triangles, np.int64)),
        _tensor(uv),
        torch.from_numpy(np.asarray(triangles_uv, np.int64)),
        torch.zeros(len(triangles), dtype=torch.int64),
    )
    return replace(
        scene,
        hair_mesh=to_device(SceneHair(_tensor(vertices), textured, _anchor(scene, vertices)), scene.device),
        maps={**scene.maps, HAIR: _tensor(look).to(scene.device)},
        map_seen={**scene.map_seen, HAIR: _tensor(seen).to(scene.device)},
    )


def _anchor(scene: Scene, points: Array) -> Anchor:
    """Hair is attached to the scalp, so that jaw and brows do not move it."""
    at = attach_to_scalp(scene.model, scene.neutral.cpu().numpy().astype(np.float64), np.asarray(points))
    return Anchor(scene.body.place.cpu()[torch.from_numpy(at.corners)], torch.from_numpy(at.bary))


def _tensor(values: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


class Unseen:
    """The share of unseen skin in a view."""

    def __init__(self, scene: Scene) -> None:
        vertices = scene.neutral.cpu().numpy().astype(np.float64)
        triangles = scene.model.triangles_of(*SKIN_PARTS)
        self._used = np.unique(triangles)
        self._vertices = vertices[self._used]
        self._normals = vertex_normals(vertices, triangles)[self._used]
        self._area = vertex_areas(vertices, triangles)[self._used]
        self._seen = scene.seen.cpu().numpy()[self._used].astype(np.float64)

    def __call__(self, views: list[View]) -> Array:
        """(K,) shares, 0..1, of the skin's area that faces each view."""
        shares = []
        for view in views:
            camera = view.camera
            azimuth, elevation = np.radians(camera.azimuth), np.radians(camera.elevation)
            away = np.array(
                [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
            )
            facing = np.clip(self._normals @ away, 0, None) * self._area
            reach = camera.distance * np.tan(np.radians(camera.fov) / 2)
            offset = self._vertices - np.array(camera.target)
            inside = np.linalg.norm(offset - (offset @ away)[:, None] * away, axis=1) < 1.2 * reach
            shares.append((facing * inside * (1 - self._seen)).sum() / max((facing * inside).sum(), 1e-12))
        return np.array(shares)


def vertex_areas(vertices: Array, triangles: Array) -> Array:
    """(V,) a third of the area around each vertex, square metres."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    return np.bincount(triangles.ravel(), np.repeat(area, 3), len(vertices))
