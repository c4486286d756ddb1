# SPDX-License-Identifier: GPL-3.0-or-later
"""Previews of a head that is being made: a light mesh for Blender's viewport, and a picture.

The canonical surface is decimated once and attached to the control surface once; a preview then is one gather. The
light mesh keeps its faces and its order of vertices from the feed-forward start to the last colours.
Nothing here draws a random number or keeps a gradient: a head with previews is bit for bit the head without.
"""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import fast_simplification
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from .bundle import to_blender_frame, to_uint8
from .distill.geometry_stage import Sculpture
from .head.finish import Atlas, HeadMesh
from .head.geometry_net import follow
from .mesh.attach import Attachment, Surface
from .preview import portrait_camera, portrait_light, render_head

MESH_SECONDS, PICTURE_SECONDS = 2.0, 4.0
SHARE = 0.03  # of the running time that previews may take: slow machines get fewer
FACES = 14_000
PICTURE_SIZE = 384
MAPS_SIZE = 512  # side of the maps that colours are read from
CLAY = (0.62, 0.6, 0.58, 0.55, 0.3)  # albedo sRGB, roughness, specular
KEPT = 3

Maps = Callable[[int], Tensor]
"""Side S -> the maps (S,S,5) 0..1 as they are now."""


@dataclass(frozen=True)
class LightMesh:
    """canonical (V,3) head frame; faces (F,3); where each vertex is attached to the control surface; topology."""

    canonical: Tensor
    faces: Tensor
    attachment: Attachment
    topology: int


class Live:
    """Writes previews into a folder and announces them. `events` gets the protocol's preview events; a folder that
    cannot be written ends the previews with a warning, not the job."""

    def __init__(
        self, folder: Path, events: Callable[[dict[str, Any]], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder, self.events, self.clock = folder, events, clock
        self.seconds = 0.0  # spent here so far
        self._off = False
        self._due = dict.fromkeys(("mesh", "picture"), clock())
        self._light: LightMesh | None = None
        self._neutral = torch.zeros(0, 3)
        self._painted: Tensor | None = None

    def sculpt(self, sculpture: Sculpture, now: bool = False) -> None:
        """Show the neutral head as it is sculpted, if it is time or with `now`."""
        if now:
            self._due = dict.fromkeys(self._due, self.clock())
        if not self._is_due("mesh", "picture"):
            return
        with self._spending(once=self._light is None), torch.no_grad():
            if self._light is None:
                self._light = light_mesh(sculpture)
            light = self._light
            motion = sculpture.identity_motion()
            self._neutral = light.canonical + follow(sculpture.net, light.attachment, motion, fade=False)
            if self._is_due("mesh"):
                self._show_mesh(None)
            if self._is_due("picture"):
                self._show_picture(clay(self._neutral, light.faces))

    def paint(self, mesh: HeadMesh, atlas: Atlas, maps: Maps) -> None:
        """Show the finished head in its colours of now: at the first call, then if it is time. The light mesh stays
        where `sculpt` last put it."""
        first, light = self._painted is None, self._light
        if first:
            self._due = dict.fromkeys(self._due, self.clock())
        if light is None or not self._is_due("mesh", "picture"):
            return
        with self._spending(once=first), torch.no_grad():
            if self._painted is None:
                # in the canonical pose the lips are apart, so that none of one is taken for the other's
                self._painted = texture_places(mesh.canonical, mesh.faces, atlas.uv, atlas.uv_faces, light.canonical)
            current = maps(MAPS_SIZE)
            if self._is_due("mesh"):
                self._show_mesh(vertex_colours(current, self._painted))
            if self._is_due("picture"):
                view, lamp = portrait_camera(0.0), portrait_light()
                self._show_picture(
                    render_head(mesh.neutral, mesh.faces, atlas.uv, atlas.uv_faces, current, view, PICTURE_SIZE, lamp)
                )

    def _is_due(self, *kinds: str) -> bool:
        return not self._off and any(self.clock() >= self._due[kind] for kind in kinds)

    @contextlib.contextmanager
    def _spending(self, once: bool) -> Iterator[None]:
        """Count the time and keep the share, but for what is done `once`; give up where files cannot be written."""
        began = self.clock()
        try:
            yield
        except OSError as error:
            self._off = True
            self.events({"type": "warning", "code": "W_PREVIEW", "message": f"No previews: {error.strerror or error}."})
        now = self.clock()
        self.seconds += now - began
        if not once:
            rest = now + (now - began) / SHARE
            self._due = {kind: max(due, rest) for kind, due in self._due.items()}

    def _show_mesh(self, colours: NDArray[np.uint8] | None) -> None:
        light = self._light
        assert light is not None
        arrays: dict[str, NDArray[Any]] = {
            "vertices": to_blender_frame(self._neutral.numpy()),
            "faces": light.faces.numpy().astype(np.int32),
        }
        if colours is not None:
            arrays["colours"] = colours
        # not compressed: that would take longer than all the rest
        path = self._write("mesh", "npz", lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
        self._due["mesh"] = self.clock() + MESH_SECONDS
        self.events({"type": "preview", "kind": "mesh", "path": str(path), "topology": light.topology})

    def _show_picture(self, picture: Tensor) -> None:
        image = Image.fromarray(to_uint8(picture.numpy()))
        path = self._write("picture", "png", lambda file: image.save(file, "PNG", compress_level=1))
        self._due["picture"] = self.clock() + PICTURE_SECONDS
        self.events({"type": "preview", "kind": "picture", "path": str(path)})

    def _write(self, kind: str, ending: str, save: Callable[[BinaryIO], None]) -> Path:
        """A new file, whole, under a name never used before in this folder; the oldest go."""
        self.folder.mkdir(parents=True, exist_ok=True)
        there = sorted(self.folder.glob(f"{kind}-{'[0-9]' * 6}.{ending}"))
        number = int(there[-1].stem.rpartition("-")[2]) + 1 if there else 1
        path = self.folder / f"{kind}-{number:06d}.{ending}"
        partial = self.folder / f".{kind}.partial"
        try:
            with partial.open("wb") as file:
                save(file)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)  # half a preview only takes the space that is missing
        for old in [*there, path][:-KEPT]:
            with contextlib.suppress(OSError):  # Windows keeps a file that Blender is reading; the next round gets it
                old.unlink()
        return path


@torch.no_grad()
def light_mesh(sculpture: Sculpture) -> LightMesh:
    """The sculpture's canonical surface with about FACES faces, attached to the control surface."""
    # the grid's own surface: laid on the skin, thin walls fold, and would show as specks
    vertices, faces = sculpture.grid_vertices().numpy(), sculpture.extraction.faces.numpy()
    if len(faces) > FACES:
        vertices, faces = fast_simplification.simplify(
            vertices.astype(np.float32), faces.astype(np.int32), target_reduction=1 - FACES / len(faces), agg=2.0
        )
    used, renumbered = np.unique(faces, return_inverse=True)
    vertices, faces = vertices[used].astype(np.float32), renumbered.reshape(-1, 3).astype(np.int64)
    return LightMesh(
        torch.from_numpy(vertices),
        torch.from_numpy(faces),
        sculpture.control.attach(vertices),
        zlib.crc32(faces.astype("<i4").tobytes()),
    )


def texture_places(
    vertices: Tensor, faces: Tensor, uv: NDArray[np.float32], uv_faces: NDArray[np.int64], points: Tensor
) -> Tensor:
    """(1,1,N,2) for grid_sample: where points (N,3) near a mesh, vertices (V,3) and faces (F,3), lie in its maps, uv
    (T,2) and uv_faces (F,3)."""
    near = Surface(vertices.numpy(), faces.numpy()).attach(points.numpy())
    corners = torch.from_numpy(np.asarray(uv)).float()[torch.from_numpy(np.asarray(uv_faces)).long()[near.face]]
    at = (corners * near.bary[..., None]).sum(1)
    return torch.stack([at[:, 0] * 2 - 1, 1 - 2 * at[:, 1]], -1)[None, None]


def vertex_colours(maps: Tensor, where: Tensor) -> NDArray[np.uint8]:
    """(N,3) uint8 sRGB: the albedo of maps (S,S,5) at `where` (1,1,N,2)."""
    albedo = maps[..., :3].permute(2, 0, 1)[None]
    return to_uint8(F.grid_sample(albedo, where, padding_mode="border", align_corners=False)[0, :, 0].T.numpy())


def clay(vertices: Tensor, faces: Tensor) -> Tensor:
    """(PICTURE_SIZE, PICTURE_SIZE, 3) sRGB: the head from the front before it has colours."""
    maps = torch.tensor(CLAY).expand(2, 2, 5)
    uv, uv_faces = np.full((1, 2), 0.5, np.float32), np.zeros((len(faces), 3), np.int64)
    return render_head(vertices, faces, uv, uv_faces, maps, portrait_camera(0.0), PICTURE_SIZE, portrait_light())
