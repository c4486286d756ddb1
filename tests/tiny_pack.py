# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole pack of format 2 with the tiny head model and networks of Stable Diffusion's classes, random weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from idto3d.expressions import Expression
from idto3d.headmodel import HeadModel, save_head_model
from idto3d.prior.adapters import AdapterConfig, attach, domain_parameters, save_domain
from idto3d.prior.manifest import HEAD_MODEL, REQUIRED, VECTORS
from idto3d.prior.pack import normalise_expressions, write_expressions, write_pack_json
from idto3d.prior.text import build_starter_text, save_text
from tests.tiny_head import tiny_head_model

SCHEDULE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
EXPRESSIONS = {
    "neutral": Expression("relaxed, closed mouth"),
    "smile": Expression("smiling", {"mouthSmile": 0.9}),
    "jaw_open": Expression("mouth wide open", {"jawOpen": 0.8}),
}
DIM = 16
SIZE = 16


def write_clip_text(folder: Path) -> None:
    """A tokenizer and text encoder as Stable Diffusion 1.5 has them: byte pairs, end marker also as padding."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    entries = [*letters, *(c + "</w>" for c in letters), "th", "the</w>", "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(entries)}
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\nt h\nth e</w>\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=9)
    tokenizer.save_pretrained(folder)
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=DIM,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=9,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
    )
    CLIPTextModel(config).save_pretrained(folder)


def new_unet(size: int, width: int) -> UNet2DConditionModel:
    """A random U-Net for latents (B,4,size,size) and text (B,L,width)."""
    return UNet2DConditionModel(
        sample_size=size,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=2,
    )


def make_pack(
    folder: Path, prediction_type: str = "epsilon", clip: bool = False, model: HeadModel | None = None
) -> Path:
    """Write a pack of random weights, always the same, into `folder`. The ONNX files only lie there."""
    torch.manual_seed(0)
    unet = new_unet(SIZE // 2, DIM)
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=SIZE,
    )
    unet.half().save_pretrained(folder / "unet")
    vae.half().save_pretrained(folder / "vae")
    if clip:
        write_clip_text(folder / "text")
    else:
        save_text(*build_starter_text(["a front view smiling"], DIM, 1, 2, 40), folder / "text")
    attach(unet.float(), AdapterConfig(exp_dim=DIM, lora_rank=2, hidden=8))
    for domain in ("normal", "albedo"):
        for p in domain_parameters(unet):
            torch.nn.init.normal_(p, std=0.2)
        save_domain(unet, folder / f"{domain}.safetensors")
    vectors = np.random.default_rng(0).normal(size=(len(EXPRESSIONS), DIM)).astype(np.float32)
    write_expressions(folder / VECTORS, tuple(EXPRESSIONS), normalise_expressions(vectors))
    save_head_model(model or tiny_head_model(), folder / HEAD_MODEL)
    for name in REQUIRED:
        if name.endswith(".onnx"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(name.encode())
    write(folder, prediction_type)
    return folder


def write(folder: Path, prediction_type: str = "epsilon", **changes: Any) -> None:
    """pack.json of the folder as it is."""
    values: dict[str, Any] = {
        "name": "tiny",
        "licence": "CC0-1.0",
        "provenance": "random weights",
        "image_size": SIZE,
        "latent_scale": 0.5,
        "schedule": SCHEDULE,
        "prediction_type": prediction_type,
        "expressions": EXPRESSIONS,
        "distillation": {},
    }
    write_pack_json(folder, **{**values, **changes})
