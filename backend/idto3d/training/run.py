# SPDX-License-Identifier: GPL-3.0-or-later
"""A training run: a folder, its stages, and their shared inputs."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from ..arrays import Array
from ..capture.motion import FILE as MOTION
from ..checkpoint import checkpoint_step
from ..errors import UserError
from ..expressions import EXPRESSIONS
from ..headmodel import load_head_model, save_head_model
from ..identity import embed, load_recogniser
from ..prior.adapters import AdapterConfig, attach, load_domain_state, read_domain
from ..prior.model import tokenize
from ..prior.pack import normalise_expressions, read_expressions, read_pack
from ..prior.prompts import mirror_text, view_name
from ..prior.reference import ReferenceConfig, attach_reference, reference_parameters
from ..prior.starter import build_starter_unet, build_starter_vae
from ..prior.text import build_starter_text
from . import captions, data
from . import prior as prior_training
from . import reference as reference_training
from .camera_distance import find_distance
from .complexion import find_complexion
from .face_nets_pack import write_face_nets
from .head_model import build_head_model
from .landmark_errors import find_errors
from .landmark_places import find_places
from .motion import learn_motion
from .photometric import find_shading
from .population import TRAIN_SEED
from .samples import decoder
from .settings import BUDGETS, TrainConfig
from .stage import StageConfig, load_average
from .store import keep_to, stored

CAPTIONS = 6
"""Wordings of each picture's caption."""
TEXT_LENGTH = 56
"""Tokens of a prompt: the longest caption has 50."""
REFERENCE = ReferenceConfig(rank=32)
SAID_BESIDE_REFERENCE = 0.35
"""Probability that a caption mentions a trait beside a reference picture: users say little, so the picture must do."""
ONE_SIDED = ("mouth_left", "jaw_right")
"""Expressions whose mirror image is another expression."""


class Run:
    """One training folder; inputs that several stages share are computed once. Raises UserError E_TRAIN_SETTINGS where
    the folder was begun with other settings that its files depend on."""

    def __init__(self, config: TrainConfig) -> None:
        self.config, self.work = config, Path(config.work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.budget = BUDGETS[torch.device(config.device).type]
        paths = ("ictkit", "headkit", "facenets", "recogniser", "init")
        settings = {name: os.path.abspath(path) if (path := getattr(config, name)) else "" for name in paths}
        people = {"people": self.data_config.people, "families": self.data_config.families}
        numbers = {**people, "mirror": config.mirror, "seed": config.seed}
        if keep_to(self.work, {**settings, **numbers}):
            self.head_file.unlink(missing_ok=True)

    # ------------------------------------------------------------------ stages
    def head(self) -> None:
        if not self.head_file.exists():
            landmarks = Path(self.config.facenets) / "ict_landmarks.npz"
            save_head_model(build_head_model(Path(self.config.ictkit), landmarks), self.head_file)

    def places(self) -> None:
        file, done = self.work / "places.npz", self.work / "places.done"
        if not done.exists():
            write_face_nets(Path(self.config.facenets), self.work / "photos")
            stored(file, lambda: find_places(self.data_config))
            save_head_model(build_head_model(Path(self.config.ictkit), file), self.head_file)
            done.touch()

    def errors(self) -> None:
        """After `places`: adds the landmark net's errors to the head model."""
        self._add("errors", find_errors)

    def complexion(self) -> None:
        """After `places`: adds how skin usually varies over a head to the head model."""
        self._add("complexion", find_complexion)

    def distance(self) -> None:
        """After `errors`: adds what landmarks tell of the camera's distance to the head model."""
        self._add("distance", find_distance)

    def shading(self) -> None:
        """After `errors`: adds what skin adds to its shading to the head model."""
        self._add("shading", find_shading)

    def _add(self, name: str, find: Callable[[data.DataConfig], dict[str, Array]]) -> None:
        found: dict[str, Any] = stored(self.work / f"{name}.npz", lambda: find(self.data_config))
        save_head_model(replace(load_head_model(self.head_file), **found), self.head_file)

    def motion(self) -> None:
        if not self.motion_file.exists():
            write_face_nets(Path(self.config.facenets), self.work / "photos")
            learn_motion(self.data_config, self.motion_file)

    def render(self) -> None:
        data.render_all(self.data_config)

    def vae(self) -> None:
        views = self.views("albedo", "normal")
        pictures = np.concatenate([views["albedo"], views["normal"]])
        config = self.stage_config(self.budget.vae, self.config.vae_steps, lr=1.2e-3, ema=0.99)
        prior_training.train_vae(self.new_vae(), pictures, self.work / "vae", config)

    def priors(self) -> None:
        device = self.config.device
        config = self.stage_config(self.budget.priors, self.config.prior_steps, lr=5e-4, weight_decay=0.0)
        priors, decode = self.new_priors(), decoder(self.load_vae().to(device), self.latent_scale)
        for net in (*priors.unets.values(), priors.text):
            net.to(device)
        prior_training.train_priors(priors, self.prior_data(), decode, self.work / "priors", config)

    def reference(self, domain: captions.Domain) -> None:
        """After `priors`: the adapter for pictures of the person, of one domain."""
        priors, folder = self.load_priors(), self.reference_folder(domain)
        self.of_priors(domain)
        attach_reference(priors.unets[domain], REFERENCE)
        for net in (priors.unets[domain], priors.text):
            net.to(self.config.device)
        config = self.stage_config(self.budget.reference, self.config.reference_steps, lr=1e-3, weight_decay=0.0)
        data = self.prior_data(said=SAID_BESIDE_REFERENCE)
        reference_training.train_reference(domain, priors, data, self.references(domain), folder, config)

    # ------------------------------------------------------------------ what they share
    @property
    def head_file(self) -> Path:
        return self.work / data.HEAD

    @property
    def motion_file(self) -> Path:
        return self.work / MOTION

    def reference_folder(self, domain: captions.Domain) -> Path:
        return self.work / f"reference_{domain}"

    @property
    def data_config(self) -> data.DataConfig:
        people = self.config.people or self.budget.people
        return data.DataConfig(
            self.work,
            self.config.headkit,
            self.config.facenets,
            people=people,
            families=self.config.families or min(people, self.budget.families),
            workers=self.config.workers or os.cpu_count() or 1,
        )

    def stage_config(self, budget: tuple[int, int], steps: int, **more: Any) -> StageConfig:
        own, batch = budget
        every = float(self.config.checkpoint_every)
        return StageConfig(
            steps or own, batch, seed=self.config.seed, device=self.config.device, checkpoint_every=every, **more
        )

    def views(self, *names: str) -> dict[str, Array]:
        return data.load_shards(self.work / "views", names)

    def new_vae(self) -> Any:
        """An untrained autoencoder, or the one of the pack that training goes on from."""
        torch.manual_seed(self.config.seed)
        vae = build_starter_vae()
        if self.config.init:
            _take_over(vae, Path(self.config.init) / "vae")
        return vae

    def load_vae(self) -> Any:
        """After `vae`: its averaged weights. Raises UserError E_TRAIN_ORDER."""
        vae = self.new_vae()
        if not load_average(self.work / "vae", vae):
            raise UserError("E_TRAIN_ORDER", f"{self.work} has no autoencoder yet.", "Train the stage vae first.")
        return vae.eval().requires_grad_(False)

    def of_vae(self, name: str, make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
        """`stored` arrays of the autoencoder as it is. Raises UserError E_TRAIN_SETTINGS where it has been trained
        further: what has learned from them knows another one."""
        step = checkpoint_step(self.work / "vae")
        made = stored(self.work / f"{name}.npz", lambda: {**make(), "vae_step": np.array(step)})
        if int(made.pop("vae_step", step)) != step:
            message = f"{name}.npz in {self.work} is of an autoencoder that has been trained further since."
            raise UserError("E_TRAIN_SETTINGS", message, "Name another folder by --work, or delete it and the priors.")
        return made

    @cached_property
    def text(self) -> tuple[Any, Any]:
        torch.manual_seed(self.config.seed)
        tokenizer, encoder = build_starter_text(captions.vocabulary(), max_length=TEXT_LENGTH)
        if self.config.init:
            _take_over_text(Path(self.config.init) / "text", tokenizer, encoder)
        return tokenizer, encoder

    def new_priors(self) -> prior_training.Priors:
        """Untrained nets, or those of the pack that training goes on from."""
        init = Path(self.config.init)
        unets = {}
        for domain in captions.DOMAINS:
            torch.manual_seed(self.config.seed)
            unet = build_starter_unet()
            if self.config.init:
                _take_over(unet, init / "unet")
            attach(unet, AdapterConfig(exp_dim=self.expression_codes.shape[1]))
            if self.config.init:
                load_domain_state(unet, read_domain(init / f"{domain}.safetensors")[1])
            unets[domain] = unet
        prior_training.share_base(*unets.values())
        return prior_training.Priors(unets, self.text[1], self.identities, self.expression_codes)

    def load_priors(self) -> prior_training.Priors:
        """After `priors`: the averaged weights. Raises UserError E_TRAIN_ORDER."""
        priors = self.new_priors()
        for p in (parameters := priors.parameters()):
            p.requires_grad_(True)
        if not load_average(self.work / "priors", torch.nn.ParameterList(parameters)):
            raise UserError("E_TRAIN_ORDER", f"{self.work} has no priors yet.", "Train the stage priors first.")
        return priors

    def load_reference(self, domain: captions.Domain) -> UNet2DConditionModel | None:
        """A domain's U-Net with the averaged weights of its stage `reference`; None where that has not begun."""
        unet = attach_reference(self.load_priors().unets[domain].requires_grad_(False), REFERENCE)
        parameters = torch.nn.ParameterList(reference_parameters(unet).values())
        if not load_average(self.reference_folder(domain), parameters):
            return None
        self.of_priors(domain)
        return unet

    def of_priors(self, domain: captions.Domain) -> None:
        """Raises UserError E_TRAIN_SETTINGS where a domain's reference network was trained on priors that have been
        trained further since; notes which ones they are where it is new."""
        step = {"step": np.array(checkpoint_step(self.work / "priors"))}
        file = self.reference_folder(domain) / "priors.npz"
        file.parent.mkdir(exist_ok=True)
        if int(stored(file, lambda: step)["step"]) != step["step"]:
            message = f"{file.parent.name} in {self.work} is of priors that have been trained further since."
            raise UserError("E_TRAIN_SETTINGS", message, "Delete that folder, and train its stage again.")

    @cached_property
    def latents(self) -> dict[str, Array]:
        """Unscaled latents of each domain's pictures (N,4,h,w), followed by their mirror images' (2N,4,h,w)."""

        def make() -> dict[str, Array]:
            vae, device = self.load_vae().to(self.config.device), self.config.device
            out: dict[str, Array] = {}
            for domain in captions.DOMAINS:
                pictures = self.views(domain, "coverage")
                both = [pictures[domain]]
                if self.config.mirror:
                    both.append(mirror_pictures(domain, pictures[domain], pictures["coverage"]))
                out[domain] = np.concatenate([prior_training.encode_all(vae, p, device).numpy() for p in both])
            return out

        return self.of_vae("latents", make)

    @cached_property
    def latent_scale(self) -> float:
        some = [self.latents[d][::20].astype(np.float32) for d in captions.DOMAINS]
        return float(1 / np.concatenate(some).std())

    def references(self, domain: captions.Domain) -> reference_training.References:
        """Latents of reference pictures, several of each usable view."""

        def make() -> dict[str, Array]:
            views = self.views("normal", "coverage", "camera", "traits", "own_traits", *{domain} - {"normal"})
            rows = np.tile(reference_training.reference_rows(views), reference_training.COPIES)
            vae, device = self.load_vae().to(self.config.device), self.config.device
            latents: list[Array] = []
            for part in np.array_split(rows, -(-len(rows) // 64)):
                rng = np.random.default_rng([self.config.seed, len(latents)])
                pictures = reference_training.reference_pictures(domain, {k: v[part] for k, v in views.items()}, rng)
                latents.append(prior_training.encode_all(vae, pictures, device).numpy())
            return {"latents": np.concatenate(latents), "row": rows}

        made = self.of_vae(f"reference_{domain}", make)
        return reference_training.References(torch.from_numpy(made["latents"]).float() * self.latent_scale, made["row"])

    def prior_data(self, said: float = captions.SAID) -> prior_training.PriorData:
        """Rows are all pictures, then the mirror images of those whose mirrored expression has a name. said:
        probability that a caption mentions a trait."""
        views = self.views("coverage", "person", "expression", "camera", "close", "traits", "own_traits")
        count = len(views["person"])
        names = list(EXPRESSIONS)
        mirrored = ~np.isin(views["expression"], [names.index(n) for n in ONE_SIDED])
        rows = np.arange(count)
        if self.config.mirror:
            rows = np.concatenate([rows, count + np.flatnonzero(mirrored)])
        tokens, latents = {}, {}
        for domain in captions.DOMAINS:
            texts = [_texts(domain, views, n, self.config.seed, said) for n in range(count)]
            flat = [text for own in texts for text in own]
            flat += [mirror_text(text) for text in flat]
            ids = tokenize(self.text[0], flat).view(2 * count, CAPTIONS, -1)
            tokens[domain] = ids[torch.from_numpy(rows)]
            latents[domain] = torch.from_numpy(self.latents[domain])[torch.from_numpy(rows)].float() * self.latent_scale
        side = latents["normal"].shape[-1]
        cover = torch.from_numpy(views["coverage"].astype(np.float32) / 255)
        small = torch.nn.functional.avg_pool2d(cover[:, None], cover.shape[1] // side)[:, 0]
        cover = torch.cat([small, small.flip(2)])[torch.from_numpy(rows)]
        return prior_training.PriorData(
            latents,
            tokens,
            tokenize(self.text[0], [""]),
            cover,
            (views["person"] - TRAIN_SEED)[rows % count],
            views["expression"][rows % count],
            rows % count,
        )

    @cached_property
    def expression_codes(self) -> Tensor:
        """y_exp (E,C): the pooled vector of each expression's text by the text encoder as it is before it is trained,
        normalised as packs are; a pack carries them, so that they need not follow the encoder. Those of the pack that
        training goes on from stay."""
        if self.config.init:
            known = read_expressions(read_pack(Path(self.config.init)))
            if known.keys() == EXPRESSIONS.keys():
                return torch.from_numpy(np.stack([known[name] for name in EXPRESSIONS]))
        with torch.no_grad():
            texts = [e.text for e in EXPRESSIONS.values()]
            encoder = self.text[1]
            pooled = encoder(tokenize(self.text[0], texts).to(encoder.device)).pooler_output
        return torch.from_numpy(normalise_expressions(pooled.float().cpu().numpy()))

    @cached_property
    def identities(self) -> Tensor:
        """y_id (people, photos, 512) of the training people, each from portraits of their own."""

        def make() -> dict[str, Array]:
            crops = self.views("crops")["crops"]
            return {"y_id": embed(load_recogniser(Path(self.config.recogniser)), crops)}

        y_id = stored(self.work / "identities.npz", make)["y_id"]
        return torch.from_numpy(y_id).view(-1, data.CROPS, y_id.shape[1])


def mirror_pictures(domain: captions.Domain, pictures: Array, coverage: Array) -> Array:
    """(N,S,S,3) uint8 mirror images; in a normal map x is negated, too, as coverage (N,S,S) minus its code."""
    out = pictures[:, :, ::-1].copy()
    if domain == "normal":
        out[..., 0] = np.clip(coverage[:, :, ::-1].astype(np.int16) - out[..., 0], 0, 255)
    return out


def _texts(domain: captions.Domain, views: dict[str, Array], row: int, seed: int, said: float) -> list[str]:
    """Captions of one picture; edited traits are always mentioned."""
    rng = np.random.default_rng([seed, row])
    traits, own = (captions.traits_of(views[k][row]) for k in ("traits", "own_traits"))
    must = captions.changed(traits, own)
    view = view_name(*(float(a) for a in views["camera"][row]))
    expression, close = list(EXPRESSIONS)[int(views["expression"][row])], bool(views["close"][row])
    return [
        captions.caption(domain, view, expression, captions.describe(traits, rng, said, must), close)
        for _ in range(CAPTIONS)
    ]


def _take_over(net: Any, folder: Path) -> None:
    """Copy a stored net's weights into a new one. Raises UserError E_TRAIN_SETTINGS where it is of another shape."""
    try:
        net.load_state_dict(type(net).from_pretrained(folder, local_files_only=True).state_dict())
    except (OSError, RuntimeError) as error:
        message = f"Training cannot go on from {folder}, which does not hold such a net."
        raise UserError("E_TRAIN_SETTINGS", message, "Name a pack by --init that `build.py train` has made.") from error


def _take_over_text(folder: Path, tokenizer: Any, encoder: Any) -> None:
    """Copy a stored text encoder's weights into a new one, word by word, as vocabularies and lengths differ."""
    from transformers import AutoTokenizer

    before = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    state = type(encoder).from_pretrained(folder, local_files_only=True).state_dict()
    own = encoder.state_dict()
    for name, value in state.items():
        if name.endswith("token_embedding.weight"):
            for word, index in before.get_vocab().items():
                if word in tokenizer.get_vocab():
                    own[name][tokenizer.get_vocab()[word]] = value[index]
        elif name.endswith("position_embedding.weight"):
            own[name][: len(value)] = value
        elif own[name].shape == value.shape and not name.endswith("position_ids"):
            own[name] = value
    encoder.load_state_dict(own)
