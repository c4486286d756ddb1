# SPDX-License-Identifier: GPL-3.0-or-later
"""Where distillation starts: what the pack's networks and the photographs say of a head before a prior is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from skimage.color import rgb2lab
from torch import Tensor

from .appearance import Appearance, measure_hair
from .head.finish import Atlas, HeadMesh, texel_attachment
from .head.geometry_net import GeometryNet
from .head.progress import Progress, between, ignored
from .head.texture_net import TextureNet, start_maps
from .likeness.detail import add_photo_detail
from .likeness.overlay import Sitting, lay_over
from .photos.faces import Face

LONG_ON_MEN = 0.15  # how likely long hair is on a man, by what it is on a woman
HAIR_CONTRAST = 22.0  # CIE 1976 difference from the skin above which the strip over the forehead must be hair


def keep_expressions(net: GeometryNet | TextureNet, rows: Tensor) -> None:
    """Only the codes of the chosen expressions, neutral first."""
    field = net.warp if isinstance(net, GeometryNet) else net.field
    field.codes = torch.nn.Parameter(field.codes[rows], requires_grad=False)


def settle_hair(
    look: Appearance, faces: Sequence[Face], texture: TextureNet, long: Tensor, masculine: float
) -> Appearance:
    """The appearance with one hair style and the hair's colour as the photographs show it. long (S,) bool: the styles
    that `GeometryNet.long_hair` names; masculine: 0..1, what the fit says.

    The net knows only average colours, and errs towards bald on photographs: a strip over the forehead that is no skin
    overrules it. Its people wear any hair, of photographed men few wear it long: it has to be seen there. One style,
    because a mixture of two volumes is neither: it frays.
    """
    skin = texture.cheeks(look.texture)
    seen = measure_hair(np.stack([f.head for f in faces]), skin)
    contrast = float(np.linalg.norm(rgb2lab(seen.numpy()) - rgb2lab(skin.numpy())))
    shares = look.style * torch.where(long, 1 - masculine * (1 - LONG_ON_MEN), 1.0)
    # Bald must be likelier than all styles of hair together, not than each of them.
    if contrast > HAIR_CONTRAST or look.style[0] < 0.5:
        shares[0] = 0.0
    style = torch.zeros_like(shares)
    style[shares.argmax()] = 1.0
    if style[0]:
        return replace(look, style=style)
    # The strip may well be skin where it looks like it; but fair hair does too, which the net takes for too dark.
    shown = 0.75 if contrast > HAIR_CONTRAST else 0.25
    return replace(look, style=style, hair=shown * seen + (1 - shown) * look.hair)


@torch.no_grad()
def bake_start(
    texture: TextureNet,
    geometry: GeometryNet,
    mesh: HeadMesh,
    atlas: Atlas,
    look: Appearance,
    surface: Tensor,
    sitting: Sitting,
    progress: Progress = ignored,
) -> Tensor:
    """The maps (S,S,5) that the texture stage starts from, carried over the seams: the networks' guess with the
    photographs' detail. surface (P,3): this person's neutral control surface."""
    points, index, attachment = texel_attachment(geometry, mesh, atlas, between(progress, 0.0, 0.7))
    hair = geometry.hair_share(look.style, points)
    values = start_maps(texture, geometry, attachment, texture.skin(look.texture), hair, look.hair, points)
    size = atlas.tri.shape[0]
    image = torch.zeros(size * size, values.shape[1])
    image[index] = values
    progress(0.72)
    maps = torch.from_numpy(atlas.pad(image.view(size, size, -1).numpy()))
    hair = geometry.hair_share(look.style, mesh.canonical)
    views = lay_over(geometry, mesh, atlas, maps, surface, hair, sitting, between(progress, 0.75, 0.8))
    return add_photo_detail(geometry, mesh, atlas, maps, hair, views, between(progress, 0.8, 1.0))
