# SPDX-License-Identifier: GPL-3.0-or-later
"""A frozen 2D prior phi: text, identity and expression in, the noise of a latent out."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextModel

from ..errors import PACK_AGAIN, UserError
from .adapters import ID_DIM, Condition, adapter_config, attach_saved, denoise, load_domain_state, read_domain
from .manifest import Pack
from .networks import load_networks
from .pack import reference_file
from .reference import Reference, attach_saved_reference, observe, reference_of
from .schedule import Schedule, make_schedule

Domain = Literal["normal", "albedo"]


class Prior(nn.Module):
    """The adapted U-Net with its autoencoder and text encoder, frozen and in eval mode. One base serves both domains:
    `use` changes the adapters.

    Only `encode` carries gradients, and only to the images: everything else runs without.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: Any,
        pack: Pack,
    ) -> None:
        """unet: with adapters (`prior.adapters.attach`)."""
        super().__init__()
        self.unet = unet
        self.vae = vae
        self.text_encoder = text_encoder
        self.tokenizer = tokenizer
        self.pack = pack
        self.alphas_cumprod: Tensor
        self.register_buffer("alphas_cumprod", make_schedule(**pack.schedule).alphas_cumprod, persistent=False)
        self._texts: dict[str, Tensor] = {}
        self._poll = _Poll()
        self.lambda_ref = 0.0
        self.domain: Domain | None = None
        vae.enable_slicing()  # a picture at a time: all views' would need their multiple of memory, and are no faster
        for block in [*unet.down_blocks, unet.mid_block, *unet.up_blocks, *vae.encoder.down_blocks]:
            for part in block.modules():
                if isinstance(part, (ResnetBlock2D, Transformer2DModel)):
                    part.register_forward_pre_hook(self._poll)
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def load(
        cls,
        pack: Pack,
        domain: Domain = "normal",
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "Prior":
        """The prior of a pack, set to `domain`. Reads local files only.

        dtype: of the U-Net; the autoencoder stays float32, whose image gradient half precision spoils, and so does the
        text encoder, which is asked a few times.
        Raises UserError E_PACK_FORMAT where a net cannot be read or does not fit.
        """
        unet, vae, text_encoder, tokenizer = load_networks(pack)
        attach_saved(unet, pack.file(f"{domain}.safetensors"))
        for net in (unet, vae):
            net.to(memory_format=torch.channels_last)  # decoding on a CPU takes .7 of the time
        prior = cls(unet.to(dtype=dtype), vae, text_encoder, tokenizer, pack).to(device)
        prior._take_reference(domain)
        return prior

    def use(self, domain: Domain) -> None:
        """Change to a domain's adapters. Raises UserError E_PACK_FORMAT where they do not fit."""
        if domain != self.domain:
            self.domain = None  # until all fits
            load_domain_state(self.unet, read_domain(self.pack.file(f"{domain}.safetensors"))[1])
            self._take_reference(domain)

    def _take_reference(self, domain: Domain) -> None:
        """The adapter for pictures of the person, where the pack has one of this domain; else lambda_ref is 0."""
        name = reference_file(domain)
        there = name in self.pack.files
        self.lambda_ref = attach_saved_reference(self.unet, self.pack.file(name)).weight if there else 0.0
        self.domain = domain

    @torch.no_grad()
    def look(self, picture: Tensor) -> Reference:
        """What a picture (1, H, W, 3) of the person, 0..1, in this prior's domain gives to self-attention: to be kept
        for as long as the domain is. Asks for a pack with that adapter (lambda_ref > 0)."""
        z0 = self.encode(picture.to(self.device)).to(self._dtype)
        gate = torch.full((1,), self.lambda_ref, device=self.device)
        given = look_at(self.unet, z0, self.empty_text().to(z0))
        return self.look(picture) if self._overflows(z0, *given.values()) else reference_of(self.unet, given, gate)

    @contextlib.contextmanager
    def interrupted_by(self, poll: Callable[[], None]) -> Iterator[None]:
        """Within, `poll` is called before every block of the nets and may raise: a step of a large net takes long."""
        self._poll.ask = poll
        try:
            yield
        finally:
            self._poll.ask = _ignore

    @property
    def schedule(self) -> Schedule:
        """The noise schedule that the prior was trained on, on the prior's device."""
        return Schedule(self.alphas_cumprod)

    @property
    def image_size(self) -> int:
        """Pixels of a side of the pictures that the prior knows."""
        return self.pack.image_size

    @property
    def device(self) -> torch.device:
        return self.alphas_cumprod.device

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, H, W, 3) in 0..1 to scaled latents (B, 4, h, w): the posterior's mean. Differentiable."""
        x = images.permute(0, 3, 1, 2).float() * 2.0 - 1.0
        return self.vae.encode(x).latent_dist.mean * self.pack.latent_scale

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents (B, 4, h, w) to images (B, H, W, 3), clamped to 0..1."""
        x = self.vae.decode(latents.float() / self.pack.latent_scale).sample
        return (x * 0.5 + 0.5).clamp(0.0, 1.0).permute(0, 2, 3, 1).contiguous()

    @torch.no_grad()
    def encode_text(self, texts: list[str]) -> Tensor:
        """Prompts to token embeddings (B, L, C), padded or cut to the tokenizer's length L. Each is encoded once."""
        for text in texts:
            if text not in self._texts:
                tokens = tokenize(self.tokenizer, [text]).to(self.device)
                self._texts[text] = self.text_encoder(tokens).last_hidden_state
        return torch.cat([self._texts[text] for text in texts])

    def has_room(self, text: str) -> bool:
        """Whether `encode_text` takes the whole of a prompt."""
        return len(self.tokenizer(text, verbose=False).input_ids) <= self.tokenizer.model_max_length

    def empty_text(self) -> Tensor:
        """The empty prompt's token embeddings (1, L, C)."""
        return self.encode_text([""])

    @torch.no_grad()
    def predict(self, z_t: Tensor, t: Tensor, cond: Condition) -> Tensor:
        """The predicted noise (B, 4, h, w), float32, of noisy latents z_t (B, 4, h, w) at integer timesteps t (B,).

        Raises UserError E_PACK_FORMAT where the U-Net answers latents with what is no number.
        """
        out = denoise(self.unet, z_t.to(self._dtype), t, cond.to(self._dtype)).float()
        if self._overflows(z_t, out):
            return self.predict(z_t, t, cond)
        return self.schedule.eps_from_v(z_t.float(), out, t) if self.pack.prediction_type == "v_prediction" else out

    @property
    def _dtype(self) -> torch.dtype:
        """The U-Net's; diffusers' own `dtype` walks through the whole net."""
        return self.unet.conv_in.weight.dtype

    def _overflows(self, z: Tensor, *out: Tensor) -> bool:
        """Whether something that the U-Net makes of latents z in half precision is no number: some nets' attention
        becomes too large for it, and some GPUs err in it (GTX 16). The net then goes on in single precision: the stages
        take what is no number for no wish at all. Raises UserError E_PACK_FORMAT where single precision is too small,
        too, unless it is z that is no number."""
        if all(bool(part.isfinite().all()) for part in out):
            return False
        if self._dtype == torch.float16:
            self.unet.float()
            return True
        if bool(z.isfinite().all()):
            message = f"The U-Net of the pack {self.pack.name} does not answer with numbers."
            raise UserError("E_PACK_FORMAT", message, PACK_AGAIN)
        return False


def _ignore() -> None:
    pass


class _Poll:
    """What the nets' blocks call. It does not know the prior: blocks that do would keep it in memory, the graphics
    card's too, until Python's garbage collector comes by, and in a worker without work that may be never."""

    def __init__(self) -> None:
        self.ask: Callable[[], None] = _ignore

    def __call__(self, *_: Any) -> None:
        self.ask()


def tokenize(tokenizer: Any, texts: list[str]) -> Tensor:
    """Token ids (B, L), padded or cut to the tokenizer's own length L."""
    length = tokenizer.model_max_length
    return tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids


@torch.no_grad()
def cfg_pair(prior: Prior, z_t: Tensor, t: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
    """The unconditional and the conditional noise, each (B, 4, h, w), from one batch of both halves.

    The unconditional half has the empty prompt and closed gates. This is what `distill.sds.sds_loss` asks for.
    """
    both = cond.unconditional(prior.empty_text()).cat(cond)
    eps_u, eps_c = prior.predict(torch.cat([z_t, z_t]), torch.cat([t, t]), both).chunk(2)
    return eps_u, eps_c


def look_at(unet: UNet2DConditionModel, z0: Tensor, empty_text: Tensor) -> dict[str, Tensor]:
    """What every self-attention is given when a U-Net with adapters sees the clean latents z0 (R,4,h,w) of a reference:
    at t = 0, with the empty prompt's embedding (1,L,C) and closed gates."""
    count = len(z0)
    y_id, y_exp = (z0.new_zeros(count, size) for size in (ID_DIM, adapter_config(unet).exp_dim))
    none = z0.new_zeros(count)
    cond = Condition(empty_text.expand(count, -1, -1), y_id, y_exp, none, none)
    return observe(unet, lambda: denoise(unet, z0, torch.zeros(count, dtype=torch.long, device=z0.device), cond))
