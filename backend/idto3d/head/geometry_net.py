# SPDX-License-Identifier: GPL-3.0-or-later
"""Psi_g(Gamma, k_exp): the head that the geometry stage sculpts, as fitted to the population.

A canonical pose with parted lips lies in the tetrahedral grid Gamma: signed distances of the skin, and of the hair of
every style. Identity enters by y_id: it says where the canonical surface goes (a linear basis over the control surface,
its coefficients an MLP of y_id). An expression is a latent code k_exp; the points of the control surface attend to
tokens made from it and move by a smooth warp that is zero for neutral by construction. One sign pattern, hence one
face list for all expressions (method: ID-to-3D's Psi_g; topology lock as in architecture.md).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ..mesh.attach import Attachment, Surface, carry
from ..volume.tetgrid import TetGrid, kuhn_grid, narrow_band
from .parts import SKIN, TEETH, inside_mouth

WARP_UNIT = 0.01  # metres that an output of 1 moves a point
HAIR_FAR = 0.03  # metres that 127 stands for in the stored distances to hair
WALL, WALL_REACH = 0.0012, 0.012  # metres that the wall to the mouth gains, and how far from the teeth that is
LIPS_END = -0.05  # metres: height of the canonical head above which there are no lips
MOUTH_HEIGHT, WISPS = -0.06, 5e-5  # metres on the canonical head; cubic metres
# metres from the hair volume within which the surface is hair: short styles are thin, and skin would show through
HAIR_EDGE, HAIR_BLUR = 0.003, 0.0006
HAIR_REACH = 0.012  # metres off the skin beyond which hair does not follow an expression
# Some styles fall over an eye, and a carved slab there hides more than hair does: fringes end above the eyes.
CLEAR_HALF_WIDTH, CLEAR_ABOVE_EYES, CLEAR_ROUNDING = 0.047, 0.034, 0.012  # metres


@dataclass(frozen=True)
class GeometryConfig:
    """Sizes of Psi_g."""

    vertices: int
    expressions: int
    modes: int = 64
    # learned feature of a control vertex, expression code, attention width
    features: int = 40
    code: int = 32
    width: int = 64
    heads: int = 4
    tokens: int = 8
    blocks: int = 2


class ShapeHead(nn.Module):
    """y_id (B,512), norm one -> identity coefficients (B,K), in standard deviations of the population."""

    def __init__(self, modes: int, width: int = 384) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(512, width), nn.GELU(), nn.Linear(width, modes))

    def forward(self, y_id: Tensor) -> Tensor:
        out: Tensor = self.layers(y_id * math.sqrt(512))
        return out


class CrossAttention(nn.Module):
    """Pre-norm cross-attention from points (P,W) to the tokens (B,T,W) of a code, then an MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.kv, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        b, p, w = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(b, -1, self.heads, w // self.heads).transpose(1, 2)

        k, v = self.kv(tokens).chunk(2, -1)
        y = F.scaled_dot_product_attention(split(self.q(self.norm(x))), split(k), split(v))
        x = x + self.out(y.transpose(1, 2).reshape(b, p, w))
        out: Tensor = x + self.mlp(self.mlp_norm(x))
        return out


class ExpressionField(nn.Module):
    """A field over the control vertices that depends on a latent code: points' queries attend to the code's tokens."""

    def __init__(self, config: GeometryConfig, outputs: int) -> None:
        super().__init__()
        self.features = nn.Parameter(torch.zeros(config.vertices, config.features))
        self.codes = nn.Parameter(torch.randn(config.expressions, config.code))
        self.identity = nn.Linear(config.modes, config.code)
        self.tokens = nn.Sequential(
            nn.Linear(config.code, config.width), nn.GELU(), nn.Linear(config.width, config.tokens * config.width)
        )
        self.query = nn.Linear(config.features, config.width)
        self.blocks = nn.ModuleList(CrossAttention(config.width, config.heads) for _ in range(config.blocks))
        self.readout = nn.Linear(config.width, outputs)

    def hidden(self, codes: Tensor, coefficients: Tensor, points: Tensor | None = None) -> Tensor:
        """codes (B,d), coefficients (K,) or (B,K) -> (B,P,W): every control point, or those of the indices points (P,),
        after attending to the code."""
        joint = codes + 0.3 * torch.tanh(self.identity(0.3 * coefficients))
        tokens = self.tokens(joint).view(len(codes), -1, self.query.out_features)
        features = self.features if points is None else self.features[points]
        x = self.query(features).expand(len(codes), -1, -1)
        for block in self.blocks:
            x = block(x, tokens)
        return x

    def forward(self, codes: Tensor, coefficients: Tensor, points: Tensor | None = None) -> Tensor:
        """codes (B,d), coefficients (K,) or (B,K) -> (B,P,outputs) of all control points, or of the indices points."""
        out: Tensor = self.readout(self.hidden(codes, coefficients, points))
        return out


class GeometryNet(nn.Module):
    """Psi_g with its grid and control surface. Buffers hold what is fixed, parameters what training fits."""

    def __init__(self, config: GeometryConfig, fixed: dict[str, Tensor]) -> None:
        """fixed: control (P,3) canonical mean, closing (P,3) from canonical to neutral, basis (K,P,3), faces (T,3),
        uv (N,2), uv_faces (T,3), part (T,), still (P,) 1 where expressions may not move, axis_x/y/z, skin_sdf
        (nx,ny,nz), hair_sdf (S,hx,hy,hz) int8 in HAIR_FAR / 127, hair_low (3,), hair_step ()."""
        super().__init__()
        self.config = config
        for name, value in fixed.items():
            self.register_buffer(name, value)
        self.fixed_names = tuple(fixed)
        self.shape = ShapeHead(config.modes)
        self.warp = ExpressionField(config, 3)

    def __getattr__(self, name: str) -> Any:  # buffers are tensors; nn.Module's own stub says Tensor | Module
        return super().__getattr__(name)

    # ---------------------------------------------------------------- fields on the control surface
    def identity_field(self, coefficients: Tensor) -> Tensor:
        """(P,3) metres from the canonical mean head to a person's neutral head."""
        return self.closing + torch.einsum("k,kpc->pc", coefficients, self.basis)

    def expression_field(self, codes: Tensor, coefficients: Tensor) -> Tensor:
        """(B,P,3) metres from neutral, zero for the neutral code (row 0) and where nothing may move."""
        moving = (self.still < 1).nonzero()[:, 0]  # half of the points: the others need not be asked
        both = self.warp(torch.cat([self.warp.codes[:1], codes]), coefficients, moving)
        field = WARP_UNIT * (both[1:] - both[:1]) * (1 - self.still[moving])[None, :, None]
        return torch.zeros(len(field), *self.control.shape).index_copy(1, moving, field)

    # ---------------------------------------------------------------- the grid
    def grid(self) -> TetGrid:
        axes = [self.axis_x.double().numpy(), self.axis_y.double().numpy(), self.axis_z.double().numpy()]
        x, y, z = (len(a) - 1 for a in axes)
        return kuhn_grid((x, y, z), ((0, 0, 0), (1, 1, 1)), axes)

    def hair_distance(self, points: Tensor) -> Tensor:
        """(S,N) metres to the hair volume of each style at canonical points (N,3); outside its grid: far."""
        size = torch.tensor(self.hair_sdf.shape[1:], dtype=torch.float32) - 1
        where = (points - self.hair_low) / self.hair_step / size * 2 - 1
        at = where.flip(-1).view(1, 1, 1, -1, 3)
        distances = self.hair_sdf.float() * (HAIR_FAR / 127)
        values = F.grid_sample(
            distances[None] - HAIR_FAR, at, mode="bilinear", padding_mode="zeros", align_corners=True
        )
        hair = values[0, :, 0, 0] + HAIR_FAR
        return torch.maximum(hair, -self._before_the_face(points))

    def hair_share(self, style: Tensor, points: Tensor) -> Tensor:
        """(N,) 0..1 to which the surface is hair of a style, shares (S,), at canonical points (N,3)."""
        distance = torch.einsum("s,sn->n", style, self.hair_distance(points))
        return torch.sigmoid((HAIR_EDGE - distance) / HAIR_BLUR)

    def long_hair(self) -> Tensor:
        """(S,) bool: which styles fall below the mouth, with more than a strand or two."""
        height = self.hair_low[1] + self.hair_step * torch.arange(self.hair_sdf.shape[2])
        cells = (self.hair_sdf[:, :, height < MOUTH_HEIGHT] < 0).sum((1, 2, 3))
        return cells * self.hair_step**3 > WISPS

    def _before_the_face(self, points: Tensor) -> Tensor:
        """(N,) metres to the region that hair leaves free, negative inside: from the eyes down and forward."""
        eyes = self.control[torch.unique(self.faces[self.part == 1])].mean(0)
        off = points - eyes
        outside = torch.stack([off[:, 0].abs() - CLEAR_HALF_WIDTH, off[:, 1] - CLEAR_ABOVE_EYES, -off[:, 2]], 1)
        outside = outside + CLEAR_ROUNDING
        return outside.clamp(min=0).norm(dim=1) + outside.amax(1).clamp(max=0) - CLEAR_ROUNDING

    def surface(self) -> Surface:
        return Surface(self.control.numpy(), self.faces.numpy())

    # ---------------------------------------------------------------- files
    def save(self, path: Path, metadata: dict[str, str] | None = None) -> None:
        """geometry.safetensors: half precision, integers as int32."""
        tensors = {}
        for name, value in self.state_dict().items():
            if value.is_floating_point():
                keep = name.startswith("axis") or name in ("control", "hair_low", "hair_step")
                tensors[name] = (value.float() if keep else value.half()).contiguous()
            else:
                tensors[name] = (value if value.dtype == torch.int8 else value.int()).contiguous()
        save_file(
            tensors,
            path,
            {"config": json.dumps(asdict(self.config)), "fixed": json.dumps(self.fixed_names), **(metadata or {})},
        )

    @classmethod
    def load(cls, path: Path) -> GeometryNet:
        with safe_open(path, "pt") as f:
            meta = f.metadata()
            stored = {k: f.get_tensor(k) for k in f.keys()}
        stored = {
            k: v.float() if v.is_floating_point() else v if v.dtype == torch.int8 else v.long()
            for k, v in stored.items()
        }
        fixed = {k: stored[k] for k in json.loads(meta["fixed"])}
        net = cls(GeometryConfig(**json.loads(meta["config"])), fixed)
        net.load_state_dict(stored)
        return net.eval().requires_grad_(False)


@dataclass
class Canonical:
    """The part of the grid that the surface can reach, with its distances, for one person."""

    band: TetGrid
    skin: Tensor  # (N,)
    hair: Tensor  # (N,)

    def sdf(self, delta: Tensor | None = None) -> Tensor:
        """(N,) union of skin and hair; delta (N,) thickens the hair (positive) or thins it."""
        hair = self.hair if delta is None else self.hair - delta
        return torch.minimum(self.skin, hair)


def _walled(net: GeometryNet, points: Tensor) -> Tensor:
    """(N,) distances to the skin at grid points (N,3), the mouth's inside drawn off the face: between them the grid's
    wall is in places thinner than a cell, and has a hole beside the nose. Not at the lips, which are to stay apart."""
    out = net.skin_sdf.reshape(-1).float().clone()
    low, high = net.control[torch.unique(net.faces[net.part == TEETH])].aminmax(dim=0)
    inside = (points > low - WALL_REACH) & (points < high + WALL_REACH)
    rows = (inside.all(1) & (out.abs() < 2 * WALL) & (points[:, 1] > LIPS_END)).nonzero()[:, 0]
    skin = (net.part == SKIN).nonzero()[:, 0]
    bag = torch.from_numpy(inside_mouth(net.uv[net.uv_faces[skin]].numpy()))
    near = Surface(net.control.numpy(), net.faces[skin].numpy()).attach(points[rows].numpy())
    out[rows[bag[near.face]]] -= WALL
    return out


def canonical_of(net: GeometryNet, style: Tensor, width: float = 0.006) -> Canonical:
    """The narrow band around a head with a mixture of hair styles, style (S,) summing to 1."""
    grid = net.grid()
    skin = _walled(net, grid.points)
    hair = torch.einsum("s,sn->n", style, net.hair_distance(grid.points))
    band, index = narrow_band(grid, torch.minimum(skin, hair), width)
    return Canonical(band, skin[index], hair[index])


def follow(net: GeometryNet, attachment: Attachment, field: Tensor, fade: bool) -> Tensor:
    """A control field (...,P,3) at attached points (...,N,3); fade: less of it the further a point is off the skin."""
    moved = carry(field, net.faces, attachment)
    if fade:
        moved = moved * torch.exp(-((attachment.gap / HAIR_REACH) ** 2))[:, None]
    return moved


def as_tensor(a: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(a))
