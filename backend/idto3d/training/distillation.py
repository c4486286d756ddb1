# SPDX-License-Identifier: GPL-3.0-or-later
"""The starter pack's `distillation` block. Training renders its pictures and captions from the same distributions."""

from ..distill.config import (
    CameraDistribution,
    DistillationConfig,
    GeometryConfig,
    Prompts,
    Score,
    Steps,
    TextureConfig,
)

_PERSON = "a {view} view of the head of a person, {words}, {expression}"

STARTER = DistillationConfig(
    prompts=Prompts(
        normal=f"{_PERSON}, normal map, black background",
        albedo=f"{_PERSON}, flat albedo texture, no shadows, black background",
        close_up="close up of the face",
    ),
    views=CameraDistribution(
        azimuth=((0.5, -45, 45), (0.35, -110, 110), (0.15, 110, 250)),
        elevation=(-15, 30),
        fov=(16, 30),
        frame=(0.34, 0.40),
        target=(0.0, 0.02, 0.02),
        close_share=0.4,
        close_within=80,
        close_frame=(0.14, 0.21),
        close_target=(0.0, 0.0, 0.07),
        jitter=0.006,
        gate=(45, 90),
        candidates=3,
    ),
    geometry=GeometryConfig(
        score=Score("image", "sigma2", guidance=2.0, t_min=0.02, t_max_start=0.9, t_max_end=0.5),
        steps=Steps(10, 30, 150),
        views=2,
        neutral_share=0.4,
        lr_neutral=8e-4,
        lr_expression=2e-2,
        lr_residual=2e-4,
        lr_hair=2e-3,
        smoothing=30.0,
        held=1e-4,
        trust=8e-3,
        feather=0.02,
        expression_trust=5e-4,
        hair_trust=1e-2,
        hold_weight=3e-5,
        strain_weight=1e-3,
        symmetry_weight=1e-4,
        checkpoint_every=4,
    ),
    texture=TextureConfig(
        score=Score("image", "sigma2", guidance=2.0, t_min=0.02, t_max_start=0.9, t_max_end=0.5),
        steps=Steps(8, 28, 126),
        views=2,
        neutral_share=0.6,
        lit_share=0.0,
        lr=0.014,
        residual=256,
        held=0.01,
        trust=0.2,
        feather=0.1,
        hold_weight=1e-4,
        seam_weight=0.01,
        checkpoint_every=4,
    ),
)
