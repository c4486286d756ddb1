# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole prior loaded from a pack: tiny networks of Stable Diffusion's classes with random weights."""

import gc
import json
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from idto3d.distill.config import Score
from idto3d.distill.sds import sds_loss
from idto3d.errors import UserError
from idto3d.prior.adapters import Condition
from idto3d.prior.model import Prior, cfg_pair
from idto3d.prior.pack import read_pack
from idto3d.prior.starter import build_starter_unet, build_starter_vae
from tests.tiny_pack import DIM, make_pack, write


@pytest.fixture(scope="module")
def pack_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pack(tmp_path_factory.mktemp("pack"))


@pytest.fixture(scope="module")
def prior(pack_dir: Path) -> Prior:
    return Prior.load(read_pack(pack_dir))


def condition(prior: Prior, batch: int) -> Condition:
    g = torch.Generator().manual_seed(1)
    return Condition(
        prior.encode_text(["a front view"] * batch),
        torch.nn.functional.normalize(torch.randn(batch, 512, generator=g), dim=-1),
        torch.randn(batch, DIM, generator=g),
        torch.ones(batch),
        torch.ones(batch),
    )


def latents(batch: int) -> torch.Tensor:
    return torch.randn(batch, 4, 8, 8, generator=torch.Generator().manual_seed(2))


def test_prior_is_frozen_and_loads_its_domain(pack_dir: Path, prior: Prior) -> None:
    assert not prior.training and not any(p.requires_grad for p in prior.parameters())
    z, t, cond = latents(2), torch.tensor([10, 900]), condition(prior, 2)
    out = prior.predict(z, t, cond)
    assert out.shape == z.shape and out.dtype == torch.float32
    assert torch.equal(out, Prior.load(read_pack(pack_dir)).predict(z, t, cond))
    assert (out - Prior.load(read_pack(pack_dir), "albedo").predict(z, t, cond)).abs().max() > 1e-3


def test_encode_is_differentiable_and_scaled(prior: Prior) -> None:
    images = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(3)).requires_grad_()
    z = prior.encode(images)
    assert z.shape == (2, 4, 8, 8)
    with torch.no_grad():
        mean = prior.vae.encode(images.permute(0, 3, 1, 2) * 2 - 1).latent_dist.mean
    torch.testing.assert_close(z.detach(), mean * 0.5)
    z.square().sum().backward()
    assert images.grad is not None and images.grad.abs().max() > 0
    out = prior.decode(z.detach())
    assert out.shape == (2, 16, 16, 3) and 0 <= out.min() and out.max() <= 1
    raw = prior.vae.decode(mean).sample.permute(0, 2, 3, 1).detach()
    torch.testing.assert_close(out, (raw / 2 + 0.5).clamp(0, 1), rtol=0, atol=1e-5)


def test_the_autoencoder_takes_a_picture_at_a_time(prior: Prior) -> None:
    counts: list[int] = []
    nets = (prior.vae.encoder, prior.vae.decoder)
    hooks = [net.register_forward_pre_hook(lambda _, inputs: counts.append(len(inputs[0]))) for net in nets]
    assert len(prior.decode(prior.encode(torch.rand(3, 16, 16, 3)))) == 3
    for hook in hooks:
        hook.remove()
    assert counts == [1] * 6


def test_guidance_is_the_two_halves(prior: Prior) -> None:
    z, t, cond = latents(2), torch.tensor([300, 600]), condition(prior, 2)
    conditional = prior.predict(z, t, cond)
    bare = Condition(prior.encode_text(["", ""]), cond.y_id * 3, cond.y_exp + 1, torch.zeros(2), torch.zeros(2))
    unconditional = prior.predict(z, t, bare)
    assert (conditional - unconditional).abs().max() > 1e-3
    eps_u, eps_c = cfg_pair(prior, z, t, cond)
    torch.testing.assert_close(eps_u, unconditional, rtol=0, atol=1e-5)
    torch.testing.assert_close(eps_c, conditional, rtol=0, atol=1e-5)


def test_one_base_serves_both_domains(pack_dir: Path) -> None:
    pack = read_pack(pack_dir)
    prior = Prior.load(pack)
    z, t, cond = latents(2), torch.tensor([10, 900]), condition(prior, 2)
    normal = prior.predict(z, t, cond)
    prior.use("albedo")
    albedo = prior.predict(z, t, cond)
    assert torch.equal(albedo, Prior.load(pack, "albedo").predict(z, t, cond))
    prior.use("normal")
    assert torch.equal(normal, prior.predict(z, t, cond)) and not torch.equal(normal, albedo)
    assert not any(p.requires_grad for p in prior.parameters())


def test_a_prompt_is_encoded_once(pack_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prior = Prior.load(read_pack(pack_dir))
    alone = [prior.encode_text([text]) for text in ("front", "smiling")]
    monkeypatch.setattr(prior, "tokenizer", None)
    torch.testing.assert_close(prior.encode_text(["smiling", "front", "smiling"]), torch.cat([*alone[::-1], alone[1]]))


def test_a_step_is_left_in_its_middle(pack_dir: Path) -> None:
    prior = Prior.load(read_pack(pack_dir))
    z, t, cond = latents(1), torch.tensor([500]), condition(prior, 1)
    asked = 0

    def poll() -> None:
        nonlocal asked
        asked += 1
        if asked == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), prior.interrupted_by(poll):
        prior.predict(z, t, cond)
    assert asked == 4
    prior.predict(z, t, cond)  # nobody asks any more
    assert asked == 4


def test_who_lets_go_of_it_has_its_memory_back_at_once(pack_dir: Path) -> None:
    """Without Python's garbage collector, which a worker that waits does not run: Blender wants the graphics card."""
    prior = Prior.load(read_pack(pack_dir))
    nets = [weakref.ref(net.get_parameter(name)) for net in (prior.unet, prior.vae, prior.text_encoder)
            for name in dict(net.named_parameters())]  # fmt: skip
    prior.predict(latents(1), torch.tensor([500]), condition(prior, 1))
    gc.collect()  # what loading has left
    gc.disable()
    try:
        del prior
        assert [net() for net in nets if net() is not None] == []
    finally:
        gc.enable()


def test_what_is_too_large_for_half_precision_goes_on_in_single(pack_dir: Path) -> None:
    """In silence, the prior would have no wish in any step."""
    single, half = (Prior.load(read_pack(pack_dir), dtype=dtype) for dtype in (torch.float32, torch.float16))
    z, t, cond = latents(1), torch.tensor([500]), condition(single, 1)
    torch.testing.assert_close(half.predict(z, t, cond), single.predict(z, t, cond), rtol=0, atol=0.02)
    assert half.unet.dtype == torch.float16
    for prior in (single, half):
        with torch.no_grad():
            prior.unet.conv_in.weight.mul_(3e5)  # of up to .17: half precision still holds them, but not what they give
    torch.testing.assert_close(half.predict(z, t, cond), single.predict(z, t, cond), rtol=0, atol=0.02)
    assert half.unet.dtype == torch.float32


def test_what_is_too_large_for_single_precision_too_is_refused(pack_dir: Path) -> None:
    """The head would come out as if it had a prior. What was asked with no numbers is no fault of the pack's."""
    prior = Prior.load(read_pack(pack_dir), dtype=torch.float16)
    z, t, cond = latents(1), torch.tensor([500]), condition(prior, 1)
    assert bool(prior.predict(z * float("nan"), t, cond).isnan().all())
    with torch.no_grad():
        prior.unet.float().conv_out.weight.fill_(3e38)
    with pytest.raises(UserError, match="E_PACK_FORMAT.*does not answer with numbers"):
        prior.predict(z, t, cond)


def test_the_text_encoder_stays_in_single_precision(pack_dir: Path) -> None:
    """Half holds its weights, but not what they give."""
    prior = Prior.load(read_pack(pack_dir), dtype=torch.float16)
    with torch.no_grad():
        for net in prior.text_encoder.modules():
            if isinstance(net, torch.nn.Linear):
                net.weight.mul_(3e4)
    assert bool(prior.encode_text(["a cat"]).isfinite().all())


@pytest.mark.parametrize("net", ["text/model", "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model"])
def test_a_net_without_all_its_weights_is_refused(net: str, tmp_path: Path) -> None:
    """Those would be random."""
    folder = make_pack(tmp_path / "pack")
    file = folder / f"{net}.safetensors"
    weights = load_file(file)
    weights.pop(next(name for name in weights if name.endswith("weight")))
    save_file(weights, file, {"format": "pt"})
    write(folder)
    with pytest.raises(UserError, match="E_PACK_FORMAT.*lacks 1 weights"):
        Prior.load(read_pack(folder))


def test_code_in_a_pack_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_pack(tmp_path / "pack")
    mark = tmp_path / "it ran"
    (folder / "text" / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Evil: pass\n", encoding="utf-8")
    settings = folder / "text" / "tokenizer_config.json"
    given = json.loads(settings.read_text(encoding="utf-8"))
    own = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    settings.write_text(json.dumps({**given, **own}), encoding="utf-8")
    write(folder)
    monkeypatch.setattr("builtins.input", lambda *question: "y")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    with pytest.raises(UserError, match="E_PACK_FORMAT"):
        Prior.load(read_pack(folder))
    assert not mark.exists()


def test_score_distillation_reaches_the_image(prior: Prior) -> None:
    """From pixels through the encoder to the loss and back, as the stages use it."""
    cond = condition(prior, 2)
    images = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(4)).requires_grad_()
    loss = sds_loss(
        prior.encode(images),
        lambda z, t: cfg_pair(prior, z, t, cond),
        prior.schedule,
        torch.tensor([200, 500]),
        latents(2),
        Score("eps", "sigma2", 7.5, 0.02, 0.9, 0.3),
    )
    loss.backward()
    assert images.grad is not None and bool(torch.isfinite(images.grad).all()) and images.grad.abs().max() > 0


def test_velocity_priors_give_noise(tmp_path: Path) -> None:
    """The same weights read as velocity: eps = alpha v + sigma z_t."""
    z, t = latents(1), torch.tensor([400])
    eps_prior = Prior.load(read_pack(make_pack(tmp_path / "eps")))
    v_prior = Prior.load(read_pack(make_pack(tmp_path / "v", "v_prediction")))
    raw = eps_prior.predict(z, t, condition(eps_prior, 1))
    alpha, sigma = v_prior.schedule.alpha_sigma(t)
    got = v_prior.predict(z, t, condition(v_prior, 1))
    torch.testing.assert_close(got, alpha * raw + sigma * z, rtol=0, atol=1e-5)


def test_stable_diffusions_text_side_loads_too(tmp_path: Path) -> None:
    """Byte-pair CLIPTokenizer and CLIPTextModel in one folder, as a full pack has them."""
    folder = make_pack(tmp_path / "clip", clip=True)
    prior = Prior.load(read_pack(folder))
    ids = AutoTokenizer.from_pretrained(folder / "text", local_files_only=True)("the cat").input_ids
    assert ids == [54, 53, 2, 0, 45, 55]  # start, the</w>, c, a, t</w>, end
    text = prior.encode_text(["the cat", ""])
    assert text.shape == (2, 9, DIM)
    settings = folder / "text" / "tokenizer_config.json"
    other = {**json.loads(settings.read_text(encoding="utf-8")), "model_max_length": 77}
    for written in (other, {key: other[key] for key in other.keys() - {"model_max_length"}}):
        settings.write_text(json.dumps(written), encoding="utf-8")
        write(folder)
        assert torch.equal(Prior.load(read_pack(folder)).encode_text(["the cat", ""]), text)


def test_starter_networks_have_the_stated_shapes() -> None:
    unet, vae = build_starter_unet().eval(), build_starter_vae().eval()
    assert 3.5e6 < sum(p.numel() for p in unet.parameters()) < 5.0e6
    assert sum(p.numel() for p in vae.parameters()) < 1.0e6
    with torch.no_grad():
        z = vae.encode(torch.zeros(1, 3, 128, 128)).latent_dist.mean
        assert z.shape == (1, 4, 32, 32)
        assert vae.decode(z).sample.shape == (1, 3, 128, 128)
        assert unet(z, torch.tensor([5]), encoder_hidden_states=torch.zeros(1, 32, 128)).sample.shape == z.shape
    attention = [name for name in unet.attn_processors if ".attn1." in name]
    assert not any(name.startswith(("down_blocks.0.", "up_blocks.2.")) for name in attention)
