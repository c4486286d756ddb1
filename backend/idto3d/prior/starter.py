# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of the starter pack: Stable Diffusion's classes at a size that two CPU cores can train and run."""

from diffusers import AutoencoderKL, UNet2DConditionModel

TEXT_DIM = 128
IMAGE_SIZE = 128
LATENT_SIZE = 32


def build_starter_unet() -> UNet2DConditionModel:
    """An untrained U-Net for (B, 4, 32, 32) latents and text (B, L, 128).

    Attention works at 16x16 and 8x8 only: at 32x32 it would cost more than all else together.
    """
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64, 128),
        norm_num_groups=16,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_DIM,
        # diffusers takes this as the number of heads (its documented misnomer).
        attention_head_dim=4,
    )


def build_starter_vae() -> AutoencoderKL:
    """An untrained autoencoder (B, 3, 128, 128) <-> (B, 4, 32, 32).

    No attention in the middle: score distillation runs the encoder forward and backward at every step.
    """
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        sample_size=IMAGE_SIZE,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=8,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )
