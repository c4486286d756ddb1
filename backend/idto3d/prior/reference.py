# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets a prior see a picture of the person: a reference network whose self-attention joins the sample's own.

Joker (Prinzler et al. 2024, "Joker: Conditional 3D Head Synthesis with Extreme Facial Expressions") runs a copy of the
U-Net on a reference picture and appends its self-attention's keys and values to those of the same layers. Here the copy
is the same U-Net with its domain's adapters at t = 0, without text and with closed gates; the keys and values of what
it sees get low-rank additions of their own:

    softmax([Q K^T / sqrt d, Q K_ref^T / sqrt d + log lambda_ref + b]) [V; V_ref],   b one learned number a head.

Neither depends on the noisy sample: they are made once a head. lambda_ref is per sample; zero leaves the net as it was.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

from ..errors import PACK_AGAIN, UserError
from .adapter_file import copy_weights, read_adapter, write_adapter


@dataclass(frozen=True)
class ReferenceConfig:
    """rank: of the additions to the keys and values of a reference. weight: lambda_ref at which the adapter is meant to
    be used."""

    rank: int
    weight: float = 1.0


Layers = Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Reference:
    """layers: name of a self-attention to its added keys and values, each (R,N,C), with R = 1 where one picture serves
    all samples, else R = B. gate (B,): lambda_ref of each sample."""

    layers: Layers
    gate: Tensor

    def for_batch(self, count: int) -> "Reference":
        """The one picture for a batch of `count`."""
        return replace(self, gate=self.gate.expand(count))

    def closed(self) -> "Reference":
        """The same with lambda_ref zero: what is unconditional in classifier-free guidance."""
        return replace(self, gate=torch.zeros_like(self.gate))

    def cat(self, other: "Reference") -> "Reference":
        """Both batches, one after the other."""
        gate = torch.cat([self.gate, other.gate])
        if self.layers is other.layers and all(len(key) == 1 for key, _ in self.layers.values()):
            return Reference(self.layers, gate)

        def both(one: Tensor, two: Tensor) -> Tensor:
            return torch.cat([one.expand(len(self.gate), -1, -1), two.expand(len(other.gate), -1, -1)])

        pairs = {name: (*own, *other.layers[name]) for name, own in self.layers.items()}
        return Reference({name: (both(k, l), both(v, w)) for name, (k, v, l, w) in pairs.items()}, gate)


class ReferenceAttnProcessor(nn.Module):
    """Self-attention that a reference's keys and values may join."""

    def __init__(self, name: str, attn: Attention, rank: int) -> None:
        super().__init__()
        self.name = name
        channels = attn.to_k.in_features
        self.to_k = low_rank(channels, attn.to_k.out_features, rank)
        self.to_v = low_rank(channels, attn.to_v.out_features, rank)
        self.bias = nn.Parameter(torch.zeros(attn.heads))
        self.plain = AttnProcessor2_0()

    def tokens(self, attn: Attention, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (R,N,C) of what this layer was given (R,N,C) when the U-Net saw the reference."""
        key, value = attn.to_k(hidden_states), attn.to_v(hidden_states)
        return key + self.to_k(hidden_states), value + self.to_v(hidden_states)

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        reference: Reference | None = None,
    ) -> Tensor:
        """hidden_states: (B, N, C)."""
        if reference is None:
            return self.plain(attn, hidden_states, encoder_hidden_states, attention_mask)
        batch, length, _ = hidden_states.shape

        def heads(x: Tensor) -> Tensor:
            return x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

        query, key, value = (heads(to(hidden_states)) for to in (attn.to_q, attn.to_k, attn.to_v))
        seen = [heads(x.to(query.dtype)).expand(batch, -1, -1, -1) for x in reference.layers[self.name]]
        weight = reference.gate.log().to(query.dtype).view(batch, 1, 1, 1) + self.bias.to(query.dtype).view(1, -1, 1, 1)
        added = weight.expand(-1, -1, -1, seen[0].shape[2])
        mask = torch.cat([torch.zeros_like(added[..., :1]).expand(-1, -1, -1, length), added], -1)
        mask = mask.expand(-1, -1, length, -1)
        joined = F.scaled_dot_product_attention(
            query, torch.cat([key, seen[0]], 2), torch.cat([value, seen[1]], 2), attn_mask=mask
        )
        return attn.to_out[1](attn.to_out[0](joined.transpose(1, 2).reshape(batch, length, -1)))


def low_rank(dim_in: int, dim_out: int, rank: int) -> nn.Sequential:
    """An addition of a rank to a matrix; a fresh one is zero."""
    down, up = nn.Linear(dim_in, rank, bias=False), nn.Linear(rank, dim_out, bias=False)
    nn.init.normal_(down.weight, std=1.0 / rank)
    nn.init.zeros_(up.weight)
    return nn.Sequential(down, up)


def attach_reference(unet: UNet2DConditionModel, config: ReferenceConfig) -> UNet2DConditionModel:
    """Add the adapter to a U-Net that has its domain's, in place, and return it. What was there of another goes."""
    like = next(unet.parameters())
    for name, module in _self_attention(unet).items():
        module.set_processor(ReferenceAttnProcessor(name, module, config.rank).to(like.device, like.dtype))
    return unet


def observe(unet: UNet2DConditionModel, look: Callable[[], object]) -> dict[str, Tensor]:
    """What every self-attention is given (R,N,C) while `look` runs the U-Net on a reference."""
    given: dict[str, Tensor] = {}

    def keep(module: Attention, inputs: tuple[Tensor, ...]) -> None:
        given[module.processor.name] = inputs[0]

    handles = [module.register_forward_pre_hook(keep) for module in _self_attention(unet).values()]
    try:
        look()
    finally:
        for handle in handles:
            handle.remove()
    return given


def reference_of(unet: UNet2DConditionModel, given: Mapping[str, Tensor], gate: Tensor) -> Reference:
    """The reference that `observe` found, with lambda_ref (B,)."""
    attention = _self_attention(unet)
    return Reference({name: attention[name].processor.tokens(attention[name], x) for name, x in given.items()}, gate)


def reference_parameters(unet: UNet2DConditionModel) -> dict[str, nn.Parameter]:
    """The adapter's parameters by name."""
    return {name: p for name, p in unet.named_parameters() if ".attn1.processor." in name}


def save_reference(
    unet: UNet2DConditionModel, config: ReferenceConfig, path: Path, dtype: torch.dtype = torch.float16
) -> None:
    """Write the adapter and its configuration."""
    write_adapter(path, config, reference_parameters(unet), dtype)


def attach_saved_reference(unet: UNet2DConditionModel, path: Path) -> ReferenceConfig:
    """`attach_reference`, frozen, with what `save_reference` wrote. Raises UserError E_PACK_FORMAT for another file and
    where it does not fit the U-Net or its numbers make no sense."""
    config, state = read_adapter(path, ReferenceConfig)
    try:
        whole = config.rank >= 1 and 0 <= config.weight < math.inf
    except TypeError:
        whole = False
    if not whole:
        why = f"{path.name} has the rank {config.rank!r} and the weight {config.weight!r}"
        raise UserError("E_PACK_FORMAT", f"The pack's adapter cannot be used: {why}.", PACK_AGAIN)
    attach_reference(unet, config)
    own = reference_parameters(unet)
    copy_weights(own, state)
    for p in own.values():
        p.requires_grad_(False)
    return config


def _self_attention(unet: UNet2DConditionModel) -> dict[str, Attention]:
    return {name: module for name, module in unet.named_modules() if name.endswith("attn1")}
