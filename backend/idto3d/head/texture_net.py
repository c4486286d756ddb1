# SPDX-License-Identifier: GPL-3.0-or-later
"""Psi_a(k_exp): albedo, roughness and specular of a head, as fitted to the population.

A linear basis of skin in the control surface's own UV gives the start; fixed pictures colour teeth and tongue; eyes are
painted; hair takes its colour from the photo. What distillation adds is a residual in the head's atlas, shared by all
expressions, and a smooth one that attends to the expression's code.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn
from torch.nn import functional as F

from ..mesh.attach import Attachment
from .geometry_net import ExpressionField, GeometryConfig, GeometryNet
from .hair import LOCKS, STRANDS, lattice_noise, strand_noise

CHEEKS = (0.29, 0.37, 0.42, 0.58)  # top, bottom, left, right of that region, shares of the side
CHANNELS = 5  # red, green, blue, roughness, specular
# by part: skin, eyes, teeth, tongue; then hair. Principled BSDF's scales: specular 0.5 is F0 = 0.04.
ROUGHNESS = (0.52, 0.12, 0.25, 0.35, 0.6)
SPECULAR = (0.38, 0.5, 0.5, 0.45, 0.3)
# Eyes are painted by the angle off the gaze (radians); the photo is too small to tell more than that they are eyes.
PUPIL_ANGLE, IRIS_ANGLE = 0.17, 0.47
ENAMEL, ENAMEL_SPREAD = (0.86, 0.82, 0.75), 0.2  # sRGB of clean teeth; saturation up to which a texel is of a tooth
PUPIL, IRIS, SCLERA = (0.03, 0.025, 0.025), (0.33, 0.20, 0.11), (0.70, 0.66, 0.63)


class TextureNet(nn.Module):
    """The texture basis and the expression field of the appearance."""

    def __init__(self, config: GeometryConfig, fixed: dict[str, Tensor]) -> None:
        """fixed: mean (S,S,3) uint8; basis (T,S,S,3) int8 with scale (T,) per step; teeth, tongue (s,s,3) uint8."""
        super().__init__()
        self.config = config
        self.fixed_names = tuple(fixed)
        for name, value in fixed.items():
            self.register_buffer(name, value)
        self.field = ExpressionField(config, CHANNELS)

    def __getattr__(self, name: str) -> Any:  # buffers are tensors; nn.Module's own stub says Tensor | Module
        return super().__getattr__(name)

    def skin(self, coefficients: Tensor) -> Tensor:
        """(S,S,3) sRGB 0..1 for texture coefficients (T,)."""
        weighted = torch.einsum("t,thwc->hwc", coefficients * self.scale, self.basis.float())
        return (self.mean.float() / 255 + weighted).clamp(0.01, 0.99)

    def cheeks(self, coefficients: Tensor) -> Tensor:
        """(3,) sRGB mean of the skin between eyes and mouth, in the kit's UV layout."""
        size = self.mean.shape[0]
        top, bottom, left, right = (round(size * share) for share in CHEEKS)
        return self.skin(coefficients)[top:bottom, left:right].mean((0, 1))

    def expression_field(self, codes: Tensor, coefficients: Tensor) -> Tensor:
        """(B,P,5) residual logits over the control vertices, zero for the neutral code (row 0)."""
        both = self.field(torch.cat([self.field.codes[:1], codes]), coefficients)
        return 0.3 * (both[1:] - both[:1])

    def save(self, path: Path) -> None:
        tensors = {
            k: (v.half() if v.is_floating_point() and k != "scale" else v).contiguous()
            for k, v in self.state_dict().items()
        }
        save_file(tensors, path, {"config": json.dumps(asdict(self.config)), "fixed": json.dumps(self.fixed_names)})

    @classmethod
    def load(cls, path: Path) -> TextureNet:
        with safe_open(path, "pt") as f:
            meta = f.metadata()
            stored = {k: f.get_tensor(k) for k in f.keys()}
        stored = {k: v.float() if v.is_floating_point() else v for k, v in stored.items()}
        net = cls(GeometryConfig(**json.loads(meta["config"])), {k: stored[k] for k in json.loads(meta["fixed"])})
        net.load_state_dict(stored)
        return net.eval().requires_grad_(False)


def quantise_basis(basis: Tensor) -> tuple[Tensor, Tensor]:
    """(T,S,S,3) float -> int8 and the value of one step (T,): a mode loses under half a percent."""
    scale = basis.flatten(1).abs().amax(1) / 127
    return torch.round(basis / scale[:, None, None, None]).to(torch.int8), scale


def sample_picture(picture: Tensor, uv: Tensor) -> Tensor:
    """Bilinear (N,C) of picture (S,S,C) 0..1 at uv (N,2), v up."""
    grid = torch.stack([uv[:, 0] * 2 - 1, 1 - uv[:, 1] * 2], -1)[None, None]
    out = F.grid_sample(
        picture.permute(2, 0, 1)[None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return out[0, :, 0].T


def clean_teeth(picture: Tensor) -> Tensor:
    """(S,S,3) 0..1 of a picture of teeth and gums on black: the kit's teeth are grey, and its black would bleed into
    them. Teeth are brought to ENAMEL, with their own shading; black takes the nearest colour."""
    value = picture.amax(-1)
    tooth = ((value - picture.amin(-1)) / value.clamp(min=1e-3) < ENAMEL_SPREAD) & (value > 0.2)
    if not bool(tooth.any()):
        return picture
    gain = torch.tensor(ENAMEL) / picture[tooth].quantile(0.75, 0)
    out = torch.where(tooth[..., None], (picture * gain).clamp(max=0.95), picture)
    nearest = distance_transform_edt((value < 0.3).numpy(), return_distances=False, return_indices=True)
    return out[torch.from_numpy(nearest[0]), torch.from_numpy(nearest[1])]


def gaze_angle(points: Tensor, centres: Tensor) -> Tensor:
    """(N,) radians between straight ahead and points (N,3) as seen from the nearer of the eyes' centres (2,3)."""
    direction = F.normalize(points - centres[torch.cdist(points, centres).argmin(1)], dim=1)
    return torch.acos(direction[:, 2].clamp(-1, 1))


def paint_eyes(points: Tensor, centres: Tensor) -> Tensor:
    """(N,3) sRGB of points (N,3) on eyeballs with the given centres (2,3), looking ahead: by the angle off the gaze."""
    angle = gaze_angle(points, centres)
    direction = points - centres[torch.cdist(points, centres).argmin(1)]
    spoke = torch.atan2(direction[:, 1], direction[:, 0])
    fibres = 0.85 + 0.3 * lattice_noise(spoke * 60 / (2 * torch.pi) + 60, angle * 12, period=60, seed=7)

    def above(edge: float, width: float) -> Tensor:
        return torch.sigmoid((angle - edge) / width)[:, None]

    iris = torch.tensor(IRIS) * fibres[:, None] * (1 - 0.65 * above(IRIS_ANGLE - 0.06, 0.02))
    out = torch.tensor(PUPIL) * (1 - above(PUPIL_ANGLE, 0.012)) + iris * above(PUPIL_ANGLE, 0.012)
    white = torch.tensor(SCLERA) - torch.tensor([0.02, 0.12, 0.12]) * above(0.95, 0.08)
    edge = above(IRIS_ANGLE, 0.018)
    return out * (1 - edge) + white * edge


def eye_centres(geometry: GeometryNet) -> Tensor:
    """(2,3) centres of the eyeballs in the canonical pose."""
    ball = geometry.control[torch.unique(geometry.faces[geometry.part == 1])]
    return torch.stack([ball[ball[:, 0] < 0].mean(0), ball[ball[:, 0] > 0].mean(0)])


def start_maps(
    net: TextureNet,
    geometry: GeometryNet,
    attachment: Attachment,
    skin: Tensor,
    hair: Tensor,
    hair_colour: Tensor,
    points: Tensor,
) -> Tensor:
    """(N,5) albedo sRGB, roughness, specular of attached points. skin (S,S,3) from `TextureNet.skin`; hair (N,) share
    of hair; hair_colour (3,) sRGB; points (N,3) canonical, for strands."""
    corners = geometry.uv[geometry.uv_faces[attachment.face]]
    uv = (corners * attachment.bary[..., None]).sum(1)
    part = geometry.part[attachment.face]
    out = torch.zeros(len(uv), CHANNELS)
    for index, picture in ((0, skin), (2, clean_teeth(net.teeth.float() / 255)), (3, net.tongue.float() / 255)):
        rows = (part == index).nonzero()[:, 0]
        out[rows, :3] = sample_picture(picture, uv[rows])
        out[rows, 3], out[rows, 4] = ROUGHNESS[index], SPECULAR[index]
    rows = (part == 1).nonzero()[:, 0]
    out[rows, :3] = paint_eyes(points[rows], eye_centres(geometry))
    out[rows, 3], out[rows, 4] = ROUGHNESS[1], SPECULAR[1]
    strands = hair_colour * (0.64 + 0.66 * strand_noise(points, (*LOCKS, *STRANDS)))[:, None]
    share = hair[:, None]
    tail = torch.tensor([ROUGHNESS[4], SPECULAR[4]]).expand(len(uv), 2)
    return out * (1 - share) + share * torch.cat([strands.clamp(0.01, 0.98), tail], 1)
