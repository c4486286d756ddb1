# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapters on a tiny U-Net of Stable Diffusion's class, and their share of the real one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor

from idto3d.errors import UserError
from idto3d.prior.adapter_file import write_adapter
from idto3d.prior.adapters import (
    AdapterConfig,
    BranchedAttnProcessor,
    Condition,
    adapter_config,
    attach,
    attach_saved,
    denoise,
    domain_parameters,
    domain_state_dict,
    load_domain_state,
    save_domain,
    trainable_share,
)
from tests.tiny_pack import new_unet

CONFIG = AdapterConfig(exp_dim=6, lora_rank=2, id_tokens=3, exp_tokens=2, hidden=8)


def tiny_unet(seed: int = 0) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    return new_unet(8, 12).eval()


def condition(batch: int, lambda_id: float = 1.0, lambda_exp: float = 1.0) -> Condition:
    g = torch.Generator().manual_seed(5)
    return Condition(
        torch.randn(batch, 7, 12, generator=g),
        torch.nn.functional.normalize(torch.randn(batch, 512, generator=g), dim=-1),
        torch.randn(batch, 6, generator=g),
        torch.full((batch,), lambda_id),
        torch.full((batch,), lambda_exp),
    )


def noisy(batch: int) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, 4, 8, 8, generator=torch.Generator().manual_seed(6)), torch.arange(batch) * 100 + 50


def randomise(unet: UNet2DConditionModel, *parts: str) -> None:
    """Random weights for the adapter parameters whose names contain one of `parts`."""
    torch.manual_seed(7)
    with torch.no_grad():
        for name, p in unet.named_parameters():
            if any(part in name for part in parts or (".lora_", ".processor.", "encoder_hid_proj.")):
                p.normal_(std=0.3)


def base_output(unet: UNet2DConditionModel, z: Tensor, t: Tensor, cond: Condition) -> Tensor:
    return unet(z, t, encoder_hidden_states=cond.text).sample


@pytest.mark.parametrize("rank", [None, 0, 2])
@torch.no_grad()
def test_fresh_adapters_equal_the_base(rank: int | None) -> None:
    z, t = noisy(2)
    expected = base_output(tiny_unet(), z, t, condition(2))
    unet = attach(tiny_unet(), AdapterConfig(exp_dim=6, lora_rank=2, hidden=8, branch_rank=rank))
    torch.testing.assert_close(denoise(unet, z, t, condition(2, 0, 0)), expected, rtol=0, atol=1e-6)
    opened = denoise(unet, z, t, condition(2))
    if rank is None:
        torch.testing.assert_close(opened, expected, rtol=0, atol=1e-6)
    else:
        assert (opened - expected).abs().max() > 1e-4


@torch.no_grad()
def test_closed_gates_equal_base_and_lora_exactly() -> None:
    """Whatever the branches hold, a zero gate leaves not a bit of them."""
    z, t = noisy(2)
    unet = attach(tiny_unet(), CONFIG)
    randomise(unet, ".lora_")
    expected = denoise(unet, z, t, condition(2, 0, 0))
    assert (expected - base_output(tiny_unet(), z, t, condition(2))).abs().max() > 1e-4
    randomise(unet, ".processor.", "encoder_hid_proj.")
    assert torch.equal(denoise(unet, z, t, condition(2, 0, 0)), expected)
    for gates in ((1, 0), (0, 1)):
        assert (denoise(unet, z, t, condition(2, *gates)) - expected).abs().max() > 1e-4


@torch.no_grad()
def test_gates_are_per_sample() -> None:
    z, t = noisy(3)
    unet = attach(tiny_unet(), CONFIG)
    randomise(unet)
    c = condition(3)
    mixed = Condition(c.text, c.y_id, c.y_exp, torch.tensor([0.0, 0.5, 1.0]), torch.tensor([1.0, 0.0, 0.25]))
    together = denoise(unet, z, t, mixed)
    for i in range(3):
        one = Condition(*(getattr(mixed, f)[i : i + 1] for f in ("text", "y_id", "y_exp", "lambda_id", "lambda_exp")))
        alone = denoise(unet, z[i : i + 1], t[i : i + 1], one)
        torch.testing.assert_close(alone, together[i : i + 1], rtol=0, atol=1e-5)


@torch.no_grad()
def test_processor_is_the_stated_sum() -> None:
    """One head, written out: softmax(Q K^T / sqrt d) V of text, plus the gated two."""
    torch.manual_seed(0)
    attn = Attention(query_dim=4, cross_attention_dim=3, heads=1, dim_head=4)
    processor = BranchedAttnProcessor(attn, None)
    for p in processor.parameters():
        p.normal_()
    x, text, tok_id, tok_exp = torch.randn(2, 5, 4), torch.randn(2, 6, 3), torch.randn(2, 2, 3), torch.randn(2, 3, 3)
    gate_id, gate_exp = torch.tensor([0.3, 1.0]), torch.tensor([2.0, 0.0])

    def att(k: Tensor, v: Tensor) -> Tensor:
        return torch.softmax(attn.to_q(x) @ k.transpose(1, 2) / 2.0, dim=-1) @ v

    expected = att(attn.to_k(text), attn.to_v(text))
    expected = expected + gate_id.view(2, 1, 1) * att(processor.id.to_k(tok_id), processor.id.to_v(tok_id))
    expected = expected + gate_exp.view(2, 1, 1) * att(processor.exp.to_k(tok_exp), processor.exp.to_v(tok_exp))
    attn.set_processor(processor)
    got = attn(x, encoder_hidden_states=(text, ((tok_id, gate_id), (tok_exp, gate_exp))))
    torch.testing.assert_close(got, attn.to_out[0](expected), rtol=1e-4, atol=1e-5)


def test_only_the_domain_learns() -> None:
    z, t = noisy(2)
    unet = attach(tiny_unet(), CONFIG)
    randomise(unet)
    frozen = {n: p.detach().clone() for n, p in unet.named_parameters() if not p.requires_grad}
    own = domain_parameters(unet)
    assert {id(p) for p in own} == {id(p) for p in unet.parameters() if p.requires_grad}
    loss = denoise(unet, z, t, condition(2)).square().mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in own)
    torch.optim.SGD(own, lr=0.1).step()
    assert all(torch.equal(p, frozen[n]) for n, p in unet.named_parameters() if n in frozen)
    assert denoise(unet, z, t, condition(2)).square().mean() < loss


@torch.no_grad()
def test_save_and_load(tmp_path: Path) -> None:
    z, t = noisy(2)
    unet = attach(tiny_unet(), CONFIG)
    randomise(unet)
    save_domain(unet, tmp_path / "normal.safetensors", torch.float32)
    again = attach_saved(tiny_unet(), tmp_path / "normal.safetensors")
    assert adapter_config(again) == CONFIG
    assert torch.equal(denoise(again, z, t, condition(2)), denoise(unet, z, t, condition(2)))
    assert all("domain" not in key for key in domain_state_dict(unet))


def test_refusals(tmp_path: Path) -> None:
    unet = attach(tiny_unet(), CONFIG)
    state = domain_state_dict(unet)
    with pytest.raises(UserError, match="E_PACK_FORMAT"):
        load_domain_state(unet, dict(list(state.items())[1:]))
    key = next(iter(state))
    with pytest.raises(UserError, match="E_PACK_FORMAT"):
        load_domain_state(unet, {**state, key: torch.zeros(1)})
    with pytest.raises(ValueError, match="already"):
        attach(unet, CONFIG)
    with pytest.raises(ValueError, match="no adapters"):
        adapter_config(tiny_unet())
    (tmp_path / "junk.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(UserError, match="E_PACK_FORMAT"):
        attach_saved(tiny_unet(), tmp_path / "junk.safetensors")
    for sizes in ({"lora_rank": 0}, {"lora_rank": "a"}, {"hidden": -1}):
        write_adapter(tmp_path / "wrong.safetensors", replace(CONFIG, **sizes), state, torch.float32)
        with pytest.raises(UserError, match="E_PACK_FORMAT"):
            attach_saved(tiny_unet(), tmp_path / "wrong.safetensors")


def test_unconditional_and_cat() -> None:
    c = condition(2)
    empty = torch.zeros(1, 7, 12)
    both = c.unconditional(empty).cat(c)
    assert len(both) == 4
    assert both.text[:2].abs().max() == 0 and torch.equal(both.text[2:], c.text)
    assert both.lambda_id.tolist() == [0, 0, 1, 1] and both.lambda_exp.tolist() == [0, 0, 1, 1]


def test_share_of_stable_diffusion_is_a_fifth_of_a_percent() -> None:
    """SD 1.5's U-Net (859,520,964 parameters) on the meta device: no memory, true counts."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        assert sum(p.numel() for p in unet.parameters()) == 859_520_964
        # rank 1 on the text's own keys and values: the share of parameters that ID-to-3D states
        attach(unet, AdapterConfig(exp_dim=768, lora_rank=16, hidden=64, branch_rank=1))
    assert sum(p.numel() for n, p in unet.named_parameters() if ".lora_" in n) == 16 * 74_880
    assert 0.0019 < trainable_share(unet) < 0.0022
