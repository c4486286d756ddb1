# SPDX-License-Identifier: GPL-3.0-or-later
"""The `distillation` block of a pack: configuration of the stages for its prior. There are no defaults."""

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ..errors import PACK_AGAIN, UserError
from ..prior.prompts import VIEWS, fill_prompt

MOST = 1e9  # of any number of a stage

Form = Literal["eps", "x0", "image"]
Weighting = Literal["sigma2", "uniform"]
Quality = Literal["draft", "standard", "fine"]
Range = tuple[float, float]


@dataclass(frozen=True)
class Prompts:
    """Templates with {view}, {expression} and {words} (`prior.prompts.fill_prompt`), one per domain; close_up: words
    added where only the face is in the picture."""

    normal: str
    albedo: str
    close_up: str


@dataclass(frozen=True)
class CameraDistribution:
    """The distribution of the prior's training cameras. Degrees and metres, head frame; ranges are uniform."""

    # [share, from, to] azimuths; the shares add up to 1
    azimuth: tuple[tuple[float, float, float], ...]
    elevation: Range
    fov: Range
    # metres that the picture's height covers at the target, and the target itself
    frame: Range
    target: tuple[float, float, float]
    # close-ups: their share among views up to this far from the front
    close_share: float
    close_within: float
    close_frame: Range
    close_target: tuple[float, float, float]
    # standard deviation of the target
    jitter: float
    # angles from the front at which the gates of identity and expression begin to close, and are closed
    gate: Range
    # views drawn for each one that is used, of which those that show unseen skin are preferred
    candidates: int


@dataclass(frozen=True)
class Steps:
    """Steps of a stage at each quality."""

    draft: int
    standard: int
    fine: int

    def of(self, quality: Quality) -> int:
        return getattr(self, quality)


@dataclass(frozen=True)
class Score:
    """Score distillation: see `sds.sds_loss` and, for the form "image", `sds.image_loss`. t / T is drawn between t_min
    and a bound that falls during the stage."""

    form: Form
    weighting: Weighting
    guidance: float
    t_min: float
    t_max_start: float
    t_max_end: float


@dataclass(frozen=True)
class GeometryConfig:
    """The geometry stage."""

    score: Score
    steps: Steps
    # pictures a step
    views: int
    # share of the steps with the neutral expression
    neutral_share: float
    # learning rates, of the largest entry: neutral (m), expression coefficients, expression residuals (m), hair (m)
    lr_neutral: float
    lr_expression: float
    lr_residual: float
    lr_hair: float
    # large steps (Nicolet et al. 2021): smoothness of the skin's motion
    smoothing: float
    # standard deviations of motion (m): fully seen vertices, unseen ones
    held: float
    trust: float
    # metres within which the hold fades out around what was seen
    feather: float
    # standard deviations of motion (m): by an expression, of hair's surface
    expression_trust: float
    hair_trust: float
    # weights: of these priors; squared strain of the motion; symmetry of unseen skin
    hold_weight: float
    strain_weight: float
    symmetry_weight: float
    checkpoint_every: int


@dataclass(frozen=True)
class TextureConfig:
    """The texture stage."""

    score: Score
    steps: Steps
    views: int
    neutral_share: float
    # share of the steps under a random light; 0 for a prior of flat albedo: roughness and specular then do not change
    lit_share: float
    # Adam's learning rate of the residual maps (logits)
    lr: float
    # side of the finest residual map; the coarsest is an eighth
    residual: int
    # standard deviations of a texel's logit: fully seen, unseen
    held: float
    trust: float
    # share of the map's side within which the hold fades out around what was seen
    feather: float
    # weights: of these priors; equal changes on both sides of a UV seam
    hold_weight: float
    seam_weight: float
    checkpoint_every: int


@dataclass(frozen=True)
class DistillationConfig:
    """The whole block."""

    prompts: Prompts
    views: CameraDistribution
    geometry: GeometryConfig
    texture: TextureConfig

    @classmethod
    def from_pack(cls, block: Mapping[str, Any]) -> "DistillationConfig":
        """Raises UserError E_PACK_FORMAT for a key that is unknown or absent and for a value that makes no sense."""
        config: DistillationConfig = _read(cls, block, "distillation")
        _check(config)
        return config

    def to_pack(self) -> dict[str, Any]:
        """The block, as `write_pack_json` takes it."""
        return asdict(self)


def _refuse(what: str) -> UserError:
    return UserError("E_PACK_FORMAT", f"The pack's distillation block cannot be used: {what}.", PACK_AGAIN)


def _read(kind: Any, value: Any, where: str) -> Any:
    """`value` of JSON as the type that a field was declared with."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        names = {f.name for f in fields(kind)}
        if not isinstance(value, Mapping) or set(value) != names:
            wrong = sorted(set(value) ^ names) if isinstance(value, Mapping) else ["it is no object"]
            raise _refuse(f"{where} has other keys than it should ({', '.join(wrong)})")
        return kind(**{name: _read(hints[name], value[name], f"{where}.{name}") for name in sorted(names)})  # type: ignore[operator]
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise _refuse(f"{where} is none of {', '.join(get_args(kind))}")
        return value
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if not isinstance(value, (list, tuple)) or (Ellipsis not in inner and len(value) != len(inner)):
            raise _refuse(f"{where} is not a list of the right length")
        each = [inner[0]] * len(value) if Ellipsis in inner else inner
        return tuple(_read(k, v, f"{where}[{n}]") for n, (k, v) in enumerate(zip(each, value, strict=True)))
    allowed = (int, float) if kind is float else (kind,)
    if (
        not isinstance(value, allowed)
        or isinstance(value, bool)
        or (kind is float and not abs(value) <= sys.float_info.max)
    ):
        raise _refuse(f"{where} is not a {kind.__name__}")
    return float(value) if kind is float else value


def _check(config: DistillationConfig) -> None:
    views, geometry, texture = config.views, config.geometry, config.texture
    for template in (config.prompts.normal, config.prompts.albedo):
        try:
            fill_prompt(template, VIEWS[0])
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            raise _refuse(f"a prompt's template has an unknown place ({error})") from error
    positive = {
        "views.fov": views.fov[0],
        "views.frame": views.frame[0],
        "views.close_frame": views.close_frame[0],
        "views.candidates": views.candidates,
        **{
            f"{name}.{key}": getattr(stage, key)
            for name, stage in (("geometry", geometry), ("texture", texture))
            for key in ("views", "held", "trust", "checkpoint_every")
        },
        "geometry.expression_trust": geometry.expression_trust,
        "geometry.hair_trust": geometry.hair_trust,
        "texture.residual": texture.residual // 8,
    }
    for name, value in positive.items():
        if not value > 0:
            raise _refuse(f"{name} is too small")
    for name, stage in (("geometry", geometry), ("texture", texture)):
        for key, value in vars(stage).items():
            if isinstance(value, int | float) and not 0 <= value <= MOST:
                raise _refuse(f"{name}.{key} is out of range")
    for name, steps in (("geometry", geometry.steps), ("texture", texture.steps)):
        if not 0 <= steps.draft <= steps.standard <= steps.fine:
            raise _refuse(f"{name}.steps do not rise with quality")
    for name, score in (("geometry", geometry.score), ("texture", texture.score)):
        if not 0 <= score.t_min <= score.t_max_end <= score.t_max_start <= 1:
            raise _refuse(f"the range of t in {name}.score is none")
    for name, limits in (
        ("elevation", views.elevation),
        ("fov", views.fov),
        ("frame", views.frame),
        ("close_frame", views.close_frame),
        *(("azimuth", (low, high)) for _, low, high in views.azimuth),
        ("gate", views.gate),
    ):
        if limits[0] > limits[1]:
            raise _refuse(f"views.{name} runs backwards")
    if min((share for share, _, _ in views.azimuth), default=-1) < 0 or min(views.jitter, views.close_share) < 0:
        raise _refuse("a share or the jitter of views is negative")
    if texture.feather > 1:
        raise _refuse("texture.feather is more than the map")
    if views.fov[1] >= 180:
        raise _refuse("views.fov is too large")
    if not math.isclose(sum(share for share, _, _ in views.azimuth), 1.0, abs_tol=1e-6):
        raise _refuse("the shares of views.azimuth do not add up to 1")
