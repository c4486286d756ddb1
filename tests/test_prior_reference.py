# SPDX-License-Identifier: GPL-3.0-or-later
"""What a picture of the person adds to a prior: on tiny nets of Stable Diffusion's classes with random weights."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor

from idto3d.distill import reference as seeing
from idto3d.distill.guidance import conditions
from idto3d.distill.reference import reference_camera, reference_picture, use_domain
from idto3d.distill.views import View
from idto3d.errors import UserError
from idto3d.prior.adapters import AdapterConfig, Condition, attach, denoise
from idto3d.prior.model import Prior, cfg_pair, look_at
from idto3d.prior.networks import load_networks
from idto3d.prior.pack import read_pack
from idto3d.prior.reference import (
    Reference,
    ReferenceAttnProcessor,
    ReferenceConfig,
    attach_reference,
    attach_saved_reference,
    reference_of,
    reference_parameters,
    save_reference,
)
from tests.known_prior import quick_config, someone, tiny_scene
from tests.test_prior_adapters import CONFIG, condition, noisy, randomise, tiny_unet
from tests.tiny_pack import DIM, make_pack, write

FILE = "reference_albedo.safetensors"


def seeing_unet() -> Any:
    unet = attach_reference(attach(tiny_unet(), CONFIG), ReferenceConfig(2))
    randomise(unet, ".lora_", ".processor.", "encoder_hid_proj.")
    return unet


def reference(unet: Any, pictures: int, *gates: float) -> Reference:
    z0 = torch.randn(pictures, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    return reference_of(unet, look_at(unet, z0, torch.zeros(1, 7, 12)), torch.tensor(gates))


@torch.no_grad()
def test_the_processor_is_the_stated_softmax() -> None:
    """Two heads, written out: a reference's keys compete with a sample's own, by lambda e^b."""
    torch.manual_seed(0)
    attn = Attention(query_dim=4, heads=2, dim_head=2)
    processor = ReferenceAttnProcessor("layer", attn, 1)
    for p in processor.parameters():
        p.normal_()
    x, seen, gate = torch.randn(2, 3, 4), torch.randn(1, 5, 4), torch.tensor([0.5, 2.0])
    key, value = processor.tokens(attn, seen)
    torch.testing.assert_close(key, attn.to_k(seen) + processor.to_k[1](processor.to_k[0](seen)))
    rows = []
    for n in range(2):
        parts = []
        for head in range(2):
            own = slice(2 * head, 2 * head + 2)
            q, k, v = (to(x[n])[:, own] for to in (attn.to_q, attn.to_k, attn.to_v))
            scores = torch.exp(q @ k.T / 2**0.5), torch.exp(q @ key[0, :, own].T / 2**0.5 + processor.bias[head])
            weights = torch.cat([scores[0], gate[n] * scores[1]], 1)
            parts.append(weights / weights.sum(1, keepdim=True) @ torch.cat([v, value[0, :, own]]))
        rows.append(attn.to_out[0](torch.cat(parts, 1)))
    attn.set_processor(processor)
    got = attn(x, reference=Reference({"layer": (key, value)}, gate))
    torch.testing.assert_close(got, torch.stack(rows), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_without_weight_not_a_bit_is_changed() -> None:
    z, t = noisy(2)
    plain = attach(tiny_unet(), CONFIG)
    randomise(plain, ".lora_", ".attn2.processor.", "encoder_hid_proj.")
    expected = denoise(plain, z, t, condition(2))
    unet = attach_reference(plain, ReferenceConfig(2))
    randomise(unet, ".attn1.processor.")
    assert torch.equal(denoise(unet, z, t, condition(2)), expected)
    seen = reference(unet, 2, 0.0, 0.0)
    assert torch.equal(denoise(unet, z, t, replace(condition(2), reference=seen)), expected)
    half = denoise(unet, z, t, replace(condition(2), reference=replace(seen, gate=torch.tensor([0.0, 1.0]))))
    torch.testing.assert_close(half[:1], expected[:1], rtol=0, atol=1e-5)
    assert (half[1] - expected[1]).abs().max() > 1e-3


@torch.no_grad()
def test_one_picture_serves_many_samples() -> None:
    unet = seeing_unet()
    z, t = noisy(2)
    one, two = reference(unet, 1, 0.7), reference(unet, 2, 0.7, 0.7)
    shared = denoise(unet, z, t, replace(condition(2), reference=one.for_batch(2)))
    same = {name: (k[:1].expand(2, -1, -1), v[:1].expand(2, -1, -1)) for name, (k, v) in two.layers.items()}
    torch.testing.assert_close(
        denoise(unet, z, t, replace(condition(2), reference=Reference(same, two.gate))), shared, rtol=0, atol=1e-5
    )
    # the batch of classifier-free guidance: what has no reference, then what has one
    whole = replace(condition(2), reference=two)
    both = whole.unconditional(torch.zeros(1, 7, 12)).cat(whole)
    assert both.reference is not None and both.reference.gate.tolist() == pytest.approx([0, 0, 0.7, 0.7])
    out = denoise(unet, torch.cat([z, z]), torch.cat([t, t]), both)
    torch.testing.assert_close(out[2:], denoise(unet, z, t, whole), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="reference"):
        whole.cat(condition(2))


def test_only_the_adapter_learns_to_use_a_picture() -> None:
    """A net that must tell two pictures apart by what it is shown of them."""
    unet = seeing_unet()
    unet.requires_grad_(False)
    own = list(reference_parameters(unet).values())
    for p in own:
        p.requires_grad_(True)
    z, t = noisy(2)
    wanted = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        given = look_at(unet, wanted, torch.zeros(1, 7, 12))
    optimiser = torch.optim.Adam(own, lr=0.1)
    losses = []
    for _ in range(10):
        cond = replace(condition(2), reference=reference_of(unet, given, torch.ones(2)))
        loss = (denoise(unet, z, t, cond) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in own)
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.97 * losses[0]


@pytest.fixture(scope="module")
def pack_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a full pack has it: byte-pair text encoder, and a reference adapter of the albedo alone."""
    folder = make_pack(tmp_path_factory.mktemp("pack"), clip=True)
    unet = attach(load_networks(read_pack(folder))[0], AdapterConfig(exp_dim=DIM, lora_rank=2, hidden=8))
    attach_reference(unet, ReferenceConfig(2, 0.5))
    randomise(unet, ".attn1.processor.")
    save_reference(unet, ReferenceConfig(2, 0.5), folder / FILE)
    write(folder)
    return folder


def asked(prior: Prior) -> Condition:
    g = torch.Generator().manual_seed(1)
    y_id = torch.nn.functional.normalize(torch.randn(2, 512, generator=g), dim=-1)
    one = torch.ones(2)
    return Condition(prior.encode_text(["the cat"] * 2), y_id, torch.randn(2, DIM, generator=g), one, one)


def test_a_pack_may_have_one_for_a_domain(pack_dir: Path) -> None:
    prior = Prior.load(read_pack(pack_dir))
    z, t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2)), torch.tensor([300, 600])
    assert prior.lambda_ref == 0
    prior.use("albedo")
    assert prior.lambda_ref == 0.5 and not any(p.requires_grad for p in prior.parameters())
    picture = torch.rand(1, 16, 16, 3, generator=torch.Generator().manual_seed(4))
    plain, seen = asked(prior), prior.look(picture)
    with_picture = replace(plain, reference=seen.for_batch(2))
    assert (prior.predict(z, t, with_picture) - prior.predict(z, t, plain)).abs().max() > 1e-3
    unconditional, conditional = cfg_pair(prior, z, t, with_picture)
    torch.testing.assert_close(unconditional, cfg_pair(prior, z, t, plain)[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(conditional, prior.predict(z, t, with_picture), rtol=0, atol=1e-5)
    prior.use("normal")
    bare = Prior.load(read_pack(pack_dir))
    assert prior.lambda_ref == 0 and torch.equal(prior.predict(z, t, plain), bare.predict(z, t, plain))


def test_a_look_that_is_too_large_for_half_precision_is_taken_in_single(pack_dir: Path) -> None:
    prior = Prior.load(read_pack(pack_dir), "albedo", dtype=torch.float16)
    with torch.no_grad():
        prior.unet.conv_in.weight.mul_(3e5)
    seen = prior.look(torch.rand(1, 16, 16, 3, generator=torch.Generator().manual_seed(4)))
    assert all(bool(part.isfinite().all()) for pair in seen.layers.values() for part in pair)


def test_one_that_does_not_fit_is_refused(pack_dir: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pack_dir, tmp_path / "pack"))
    for other in ("albedo.safetensors", "expressions.safetensors"):
        shutil.copy(folder / other, folder / FILE)
        for read in (write, partial(read_pack, verify=False)):
            with pytest.raises(UserError, match="E_PACK_FORMAT"):
                read(folder)
    wider = attach_reference(attach(tiny_unet(), CONFIG), ReferenceConfig(3))
    save_reference(wider, ReferenceConfig(2), folder / FILE)
    write(folder)
    with pytest.raises(UserError, match="E_PACK_FORMAT.*do not fit"):
        Prior.load(read_pack(folder), "albedo")


@pytest.mark.parametrize(("rank", "weight"), [(2, -1.0), (2, float("nan")), (2, "1"), (0, 0.5), (-3, 0.5)])
def test_an_adapter_whose_numbers_make_no_sense_is_refused(rank: int, weight: Any, tmp_path: Path) -> None:
    net = attach_reference(attach(tiny_unet(), CONFIG), ReferenceConfig(2))
    save_reference(net, ReferenceConfig(rank, weight), tmp_path / "reference.safetensors")
    with pytest.raises(UserError, match="E_PACK_FORMAT"):
        attach_saved_reference(net, tmp_path / "reference.safetensors")


def test_the_picture_shows_what_was_seen_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, config = tiny_scene(), quick_config(1)
    assert reference_camera(scene, config.views).azimuth < 0  # the person's right was seen
    size = 64
    whole = {name: torch.ones_like(seen) for name, seen in scene.map_seen.items()}
    full = replace(scene, map_seen=whole, seen=torch.ones_like(scene.seen))
    monkeypatch.setattr(seeing, "reference_camera", lambda *_: reference_camera(scene, config.views))
    for domain in ("albedo", "normal"):
        some: Tensor = reference_picture(scene, config.views, domain, size)
        all_of_it: Tensor = reference_picture(full, config.views, domain, size)
        assert some.shape == (1, size, size, 3)
        shown, covered = some.amax(-1) > 0.05, all_of_it.amax(-1) > 0.05
        assert 0.2 < float(shown.sum() / covered.sum()) < 0.95 and not bool((shown & ~covered).any())
        inside = some.amax(-1) > 0.9 * all_of_it.amax(-1)
        torch.testing.assert_close(some[shown & inside], all_of_it[shown & inside], rtol=0, atol=0.1)


def test_the_stage_looks_once_and_asks_with_what_it_saw(pack_dir: Path) -> None:
    prior, scene, config = Prior.load(read_pack(pack_dir), "albedo"), tiny_scene(), quick_config(1)
    who = use_domain(prior, replace(someone(), y_exp=torch.eye(3, DIM)), scene, config, "albedo")
    assert who.reference is not None
    views = [View(reference_camera(scene, config.views), False)] * 3
    cond = conditions(prior, who, config, 0, views, "albedo")
    assert cond.reference is not None and cond.reference.gate.tolist() == [0.5] * 3
    assert cond.reference.layers is who.reference.layers
    assert use_domain(prior, someone(), scene, config, "normal").reference is None
