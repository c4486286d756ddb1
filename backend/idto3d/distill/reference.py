# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of the person for a prior with a reference network.

It is a render of the start head, like the prior's training pictures, black where no photograph shows the head. A
photograph itself would be of another domain: light, background, the camera's colours.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..prior.model import Domain, Prior
from ..render.cameras import Camera, make_camera
from ..render.lights import FlatLight
from ..render.normals import normal_map
from ..render.skin import Covered, render_skin
from .config import CameraDistribution, DistillationConfig
from .guidance import Conditioning
from .scene import Scene, Unseen
from .views import View

AZIMUTHS = (0.0, -22.5, 22.5, -45.0, 45.0)
SHOWN = 0.5
"""How well a place must be seen to be in the picture."""


def use_domain(
    prior: Prior, who: Conditioning, scene: Scene, config: DistillationConfig, domain: Domain
) -> Conditioning:
    """Change the prior to a domain; returns the conditioning with that domain's reference of the scene's evidence, the
    same if the prior has no reference network. Raises ValueError where expressions and displacements differ in number.
    """
    if len(who.names) != len(scene.displacements):
        raise ValueError(f"{len(who.names)} expressions, and displacements of {len(scene.displacements)}")
    prior.use(domain)
    if not prior.lambda_ref:
        return who
    return replace(who, reference=prior.look(reference_picture(scene, config.views, domain, prior.image_size)))


@torch.no_grad()
def reference_picture(scene: Scene, config: CameraDistribution, domain: Domain, size: int) -> Tensor:
    """(1,size,size,3) albedo or normals of the neutral head where it was seen, black elsewhere, from the side that was
    seen most. Normals are without hair, which the geometry stage carves from its volume."""
    cameras = [reference_camera(scene, config)]
    vertices, textured = scene.vertices(0), scene.textured()
    if domain == "albedo":
        maps = [_seen_only(scene, name) for name in scene.materials]
        return render_skin(vertices, textured.triangles, textured.channels(maps), cameras, size, FlatLight())
    seen = (scene.seen > SHOWN).to(vertices)[:, None].expand(-1, 5)
    triangles = scene.skin.triangles

    def shown(covered: Covered) -> Tensor:
        return covered(seen, triangles)

    head = scene.posed(0)
    mask = render_skin(head, triangles, shown, cameras, size, FlatLight())
    return normal_map(head, triangles, cameras, size)[0] * mask


def reference_camera(scene: Scene, config: CameraDistribution) -> Camera:
    """The whole head, level, from the side whose skin was seen most."""
    fov, frame = (float(np.mean(limits)) for limits in (config.fov, config.frame))
    views = [View(make_camera(azimuth, 0.0, fov, frame, config.target), False) for azimuth in AZIMUTHS]
    return views[int(np.argmin(Unseen(scene)(views)))].camera


def _seen_only(scene: Scene, material: str) -> Tensor:
    """(S,S,5) a map that is black where no photograph showed it; whole where a material needs none."""
    image = scene.maps[material]
    if material not in scene.map_seen:
        return image
    return image * (scene.map_seen[material] > SHOWN)[..., None]
