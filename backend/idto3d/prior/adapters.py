# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a text-to-image U-Net a prior of one domain (normals or albedo) that knows identity and expression.

On self-attention, low-rank additions: Q = X (W_Q + W_Q^n), and K, V likewise. On cross-attention, two added branches:
``Att(Q, K_text, V_text) + lambda_id Att(Q, K_id, V_id) + lambda_exp Att(Q, K_exp, V_exp)`` (Babiloni et al. 2024,
"ID-to-3D"; the branches are IP-Adapter's decoupled cross-attention, Ye et al. 2023).

The lambdas are per sample: a zero gate is the unconditional of classifier-free guidance, and views from behind fade
both. diffusers' own IPAdapterAttnProcessor2_0 takes one scale for the whole batch, hence the processor here.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from peft import LoraConfig
from torch import Tensor, nn

from ..errors import PACK_AGAIN, UserError
from .adapter_file import copy_weights, read_adapter, write_adapter
from .reference import Reference, low_rank

ID_DIM = 512
"""Length of a face recogniser's vector (ArcFace and its kin)."""

_LORA = "domain"


@dataclass(frozen=True)
class AdapterConfig:
    """Sizes of one domain's adapters.

    exp_dim: length D of y_exp. lora_rank: rank on attn1's to_q, to_k, to_v; lora_out adds to_out.
    id_tokens, exp_tokens: tokens that each vector becomes. hidden: width of the two projections' hidden layer.
    branch_rank: None gives every branch K, V matrices of its own; r >= 0 reuses the frozen text K, V with an addition
    of rank r: with rank 1 and hidden 64 the adapters are 0.2 % of Stable Diffusion 1.5's U-Net, the share that ID-to-3D
    states.
    """

    exp_dim: int
    lora_rank: int = 16
    lora_out: bool = False
    id_tokens: int = 4
    exp_tokens: int = 4
    hidden: int = 256
    branch_rank: int | None = None


@dataclass(frozen=True)
class Condition:
    """What a batch is conditioned on.

    text: (B, L, C) token embeddings; y_id: (B, 512) of norm one; y_exp: (B, D);
    lambda_id, lambda_exp: (B,) gates. A zero gate is exactly the U-Net without that branch. reference: what a picture
    of the person adds to self-attention, of a U-Net that has that adapter (`prior.reference`).
    """

    text: Tensor
    y_id: Tensor
    y_exp: Tensor
    lambda_id: Tensor
    lambda_exp: Tensor
    reference: Reference | None = None

    def __len__(self) -> int:
        return int(self.text.shape[0])

    def to(self, dtype: torch.dtype) -> "Condition":
        """The same in another precision; a reference keeps its own."""
        vectors = self.text.to(dtype), self.y_id.to(dtype), self.y_exp.to(dtype)
        return Condition(*vectors, self.lambda_id.to(dtype), self.lambda_exp.to(dtype), self.reference)

    def unconditional(self, empty_text: Tensor) -> "Condition":
        """The same batch with the empty prompt's embedding, (1, L, C) or (B, L, C), and all gates closed."""
        zeros = torch.zeros_like(self.lambda_id)
        reference = None if self.reference is None else self.reference.closed()
        return Condition(empty_text.expand_as(self.text), self.y_id, self.y_exp, zeros, zeros, reference)

    def cat(self, other: "Condition") -> "Condition":
        """Both batches, one after the other. Raises ValueError where only one of them has a reference."""
        if (self.reference is None) != (other.reference is None):
            raise ValueError("only one of the batches has a reference")
        reference = None if self.reference is None or other.reference is None else self.reference.cat(other.reference)

        def both(name: str) -> Tensor:
            return torch.cat([getattr(self, name), getattr(other, name)])

        vectors = both("text"), both("y_id"), both("y_exp")
        return Condition(*vectors, both("lambda_id"), both("lambda_exp"), reference)


class _Projection(nn.Module):
    """A vector (B, n) to tokens (B, T, C): IP-Adapter-FaceID's Linear, GELU, Linear, LayerNorm."""

    def __init__(self, dim_in: int, hidden: int, tokens: int, dim_out: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.proj = nn.Sequential(nn.Linear(dim_in, hidden), nn.GELU(), nn.Linear(hidden, tokens * dim_out))
        self.norm = nn.LayerNorm(dim_out)

    def forward(self, y: Tensor) -> Tensor:
        x = self.proj(y.to(self.norm.weight.dtype))
        return self.norm(x.view(y.shape[0], self.tokens, -1))


class _Projections(nn.Module):
    """Sits in the U-Net's ``encoder_hid_proj``: turns a Condition into the two branches' tokens and gates."""

    def __init__(self, config: AdapterConfig, cross_dim: int) -> None:
        super().__init__()
        self.config = config
        self.id = _Projection(ID_DIM, config.hidden, config.id_tokens, cross_dim)
        self.exp = _Projection(config.exp_dim, config.hidden, config.exp_tokens, cross_dim)

    def forward(self, cond: Condition) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        return (self.id(cond.y_id), cond.lambda_id), (self.exp(cond.y_exp), cond.lambda_exp)


class _Branch(nn.Module):
    """Keys and values of one added condition."""

    def __init__(self, attn: Attention, rank: int | None) -> None:
        super().__init__()
        dim_in, dim_out = attn.to_k.in_features, attn.to_k.out_features
        self.to_k: nn.Module
        self.to_v: nn.Module
        self.shares_text = rank is not None
        if rank is None:
            key, value = nn.Linear(dim_in, dim_out, bias=False), nn.Linear(dim_in, dim_out, bias=False)
            with torch.no_grad():
                key.weight.copy_(attn.to_k.weight)
            # Zero values: a fresh branch adds nothing, so that training starts from the base's own output.
            nn.init.zeros_(value.weight)
            self.to_k, self.to_v = key, value
        elif rank > 0:
            self.to_k, self.to_v = low_rank(dim_in, dim_out, rank), low_rank(dim_in, dim_out, rank)

    def forward(self, attn: Attention, tokens: Tensor) -> tuple[Tensor, Tensor]:
        if not self.shares_text:
            return self.to_k(tokens), self.to_v(tokens)
        key, value = attn.to_k(tokens), attn.to_v(tokens)
        if hasattr(self, "to_k"):
            key, value = key + self.to_k(tokens), value + self.to_v(tokens)
        return key, value


class BranchedAttnProcessor(nn.Module):
    """Cross-attention with a text, an identity and an expression branch that share Q."""

    def __init__(self, attn: Attention, branch_rank: int | None) -> None:
        super().__init__()
        self.id = _Branch(attn, branch_rank)
        self.exp = _Branch(attn, branch_rank)

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: tuple[Tensor, tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]],
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        reference: Reference | None = None,
    ) -> Tensor:
        """hidden_states: (B, N, C); encoder_hidden_states: text tokens, then (tokens, gate) of the two branches.
        diffusers hands every layer a reference; only self-attention has a use for it."""
        text, branches = encoder_hidden_states
        batch, length, _ = hidden_states.shape

        def heads(x: Tensor) -> Tensor:
            return x.view(batch, -1, attn.heads, x.shape[-1] // attn.heads).transpose(1, 2)

        def merge(x: Tensor) -> Tensor:
            return x.transpose(1, 2).reshape(batch, length, -1)

        if attention_mask is not None:
            attention_mask = attn.prepare_attention_mask(attention_mask, text.shape[1], batch)
            attention_mask = attention_mask.view(batch, attn.heads, -1, attention_mask.shape[-1])
        query = heads(attn.to_q(hidden_states))
        key, value = heads(attn.to_k(text)), heads(attn.to_v(text))
        out = merge(F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask))
        for branch, (tokens, gate) in zip((self.id, self.exp), branches, strict=True):
            k, v = branch(attn, tokens.to(query.dtype))
            added = F.scaled_dot_product_attention(query, heads(k), heads(v))
            out = out + gate.to(out.dtype).view(batch, 1, 1) * merge(added)
        return attn.to_out[1](attn.to_out[0](out))


def attach(unet: UNet2DConditionModel, config: AdapterConfig) -> UNet2DConditionModel:
    """Add one domain's adapters to `unet` in place, freeze its own parameters, and return it.

    Fresh adapters leave the output as it was wherever the gates are closed (and, with branch_rank None, at any gate).
    Raises ValueError if the U-Net already has adapters.
    """
    if unet.encoder_hid_proj is not None:
        raise ValueError("this U-Net already has adapters or another encoder_hid_proj")
    unet.requires_grad_(False)
    targets = ["attn1.to_q", "attn1.to_k", "attn1.to_v"] + (["attn1.to_out.0"] if config.lora_out else [])
    unet.add_adapter(
        LoraConfig(r=config.lora_rank, lora_alpha=config.lora_rank, target_modules=targets), adapter_name=_LORA
    )
    like = next(unet.parameters())
    for name, module in unet.named_modules():
        if name.endswith("attn2"):
            processor = BranchedAttnProcessor(module, config.branch_rank).to(like.device, like.dtype)
            module.set_processor(processor)
    # diffusers' own route for IP-Adapters: the U-Net runs encoder_hid_proj and hands (text, result) to every attn2.
    unet.encoder_hid_proj = _Projections(config, unet.config["cross_attention_dim"]).to(like.device, like.dtype)
    unet.config.encoder_hid_dim_type = "ip_image_proj"
    return unet


def adapter_config(unet: UNet2DConditionModel) -> AdapterConfig:
    """The configuration that `attach` was given. Raises ValueError on a U-Net without adapters."""
    if not isinstance(unet.encoder_hid_proj, _Projections):
        raise ValueError("this U-Net has no adapters")
    return unet.encoder_hid_proj.config


def denoise(unet: UNet2DConditionModel, z_t: Tensor, t: Tensor, cond: Condition) -> Tensor:
    """The adapted U-Net's raw output (B, 4, h, w) for noisy latents z_t (B, 4, h, w) at timesteps t (B,)."""
    seen = cond.reference if cond.reference is not None and bool(cond.reference.gate.any()) else None
    result = unet(
        z_t,
        t,
        encoder_hidden_states=cond.text,
        added_cond_kwargs={"image_embeds": cond},
        cross_attention_kwargs=None if seen is None else {"reference": seen},
        return_dict=False,
    )
    return result[0]


def _is_domain(name: str) -> bool:
    return ".lora_" in name or ".attn2.processor." in name or name.startswith("encoder_hid_proj.")


def _domain(unet: UNet2DConditionModel) -> dict[str, nn.Parameter]:
    return {n.replace(f".{_LORA}.", "."): p for n, p in unet.named_parameters() if _is_domain(n)}


def domain_parameters(unet: UNet2DConditionModel) -> list[nn.Parameter]:
    """The trainable parameters of one domain: LoRA, branches, projections."""
    return list(_domain(unet).values())


def domain_state_dict(unet: UNet2DConditionModel) -> dict[str, Tensor]:
    """A detached copy of one domain's weights under flat keys, such as ``...attn1.to_q.lora_A.weight``."""
    return {name: p.detach().clone().contiguous() for name, p in _domain(unet).items()}


def load_domain_state(unet: UNet2DConditionModel, state: dict[str, Tensor]) -> None:
    """Copy `state` (from `domain_state_dict`) into the adapters. Raises UserError E_PACK_FORMAT if it does not fit."""
    copy_weights(_domain(unet), state)


def trainable_share(unet: UNet2DConditionModel) -> float:
    """One domain's parameters as a fraction of the base U-Net's own."""
    added = sum(p.numel() for p in domain_parameters(unet))
    return added / (sum(p.numel() for p in unet.parameters()) - added)


def save_domain(unet: UNet2DConditionModel, path: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write one domain's weights and their configuration to a safetensors file."""
    write_adapter(path, adapter_config(unet), domain_state_dict(unet), dtype)


def read_domain(path: Path) -> tuple[AdapterConfig, dict[str, Tensor]]:
    """The configuration and weights that `save_domain` wrote. Raises UserError E_PACK_FORMAT for another file."""
    return read_adapter(path, AdapterConfig)


def attach_saved(unet: UNet2DConditionModel, path: Path) -> UNet2DConditionModel:
    """`attach` with what `read_domain` reads. Raises UserError E_PACK_FORMAT if it does not fit the U-Net."""
    config, state = read_domain(path)
    try:
        attach(unet, config)
    except (ValueError, TypeError, RuntimeError) as error:
        what = f"The sizes of the adapters in {path.name} make no sense ({error})."
        raise UserError("E_PACK_FORMAT", what, PACK_AGAIN) from error
    load_domain_state(unet, state)
    return unet
