# SPDX-License-Identifier: GPL-3.0-or-later
"""`idto3d train`: every weight of the starter pack. Each stage is resumed after a kill and skipped when done.

render   pictures of synthetic people
faces    recogniser, keypoint net, appearance net
landmarks the net that finds dense landmarks
vae      autoencoder
base     shared U-Net and text encoder on photographs, normals and albedo
domains  LoRA sets and branches of phi_g and phi_a
geometry Psi_g and the texture basis fitted to the population
pack     the folder that ships
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..checkpoint import load_checkpoint
from ..expressions import EXPRESSIONS
from ..prior.adapters import AdapterConfig, attach
from ..prior.prompts import view_name
from ..prior.starter import build_starter_unet, build_starter_vae
from ..prior.text import build_starter_text
from . import captions, data, face_nets, landmark_net
from . import prior as prior_training
from .face_model import CALIBRATION_PEOPLE, CALIBRATION_SEED
from .landmarks import COUNT
from .nets import LandmarkNet
from .population import RECIPES, TRAIN_SEED, Population, load_kit
from .samples import decoder
from .shape import ControlTopology, ShapeModel, control_mesh, control_topology
from .shape import load_or_fit as load_or_fit_shape
from .template import Template, load_or_build
from .texture import TextureModel
from .texture import load_or_fit as load_or_fit_texture

Array = NDArray[Any]
PHOTO_STEP = prior_training.PHOTO_STEP
STAGES = ("render", "faces", "landmarks", "vae", "base", "domains", "geometry", "pack")


@dataclass(frozen=True)
class TrainConfig:
    """Budgets of all stages. What the shipped starter pack was given stands in its model card."""

    headkit: str
    work: str
    device: str = "cpu"
    people: int = 4000
    faces_steps: int = 2400
    landmark_steps: int = 4000
    vae_steps: int = 1400
    base_steps: int = 5000
    domain_steps: int = 1500
    geometry_steps: int = 1500
    # which adapters the stage `domains` trains: one process each makes use of two cores
    domains: str = "normal,albedo"
    # shards of views (100 people, 1000 pictures each) that the autoencoder and the priors see
    prior_shards: int = 20
    # a pack whose autoencoder and base are trained further instead of new ones; empty: none. Adapters are always new:
    # they know one recogniser's y_id
    init: str = ""
    seed: int = 0


class Run:
    """One training folder; what several stages need is made once."""

    def __init__(self, config: TrainConfig) -> None:
        self.config, self.work = config, Path(config.work)
        self.work.mkdir(parents=True, exist_ok=True)

    @cached_property
    def population(self) -> Population:
        return Population(load_kit(self.config.headkit))

    @cached_property
    def shape(self) -> ShapeModel:
        return load_or_fit_shape(self.work / "shape.npz", self.population, self.config.people)

    @cached_property
    def texture(self) -> TextureModel:
        return load_or_fit_texture(self.work / "texture.npz", self.population, self.config.people)

    @cached_property
    def topology(self) -> ControlTopology:
        return control_topology(control_mesh(self.population, self.population.mean_identity, {}))

    @cached_property
    def template(self) -> Template:
        mean = self.population.mean_identity
        return load_or_build(self.work / "template.npz", self.population, self.shape, self.topology, mean)

    @property
    def calibration(self) -> Path:
        """Pictures of people that no net is trained on."""
        return self.work / "calibration"

    # ------------------------------------------------------------------ stages
    def render(self) -> None:
        config = data.DataConfig(self.config.headkit, str(self.work), face_people=self.config.people)
        data.render_all(config)
        strangers = replace(config, out=str(self.calibration), face_people=CALIBRATION_PEOPLE)
        data.render_all(replace(strangers, first_seed=CALIBRATION_SEED), ("faces",))

    @cached_property
    def face_data(self) -> face_nets.FaceData:
        return face_nets.load_faces(
            self.work / "faces", self.population, self.shape.coefficients, self.texture.coefficients
        )

    def faces(self) -> face_nets.FaceNets:
        stage = face_nets.photo_stage(self.config.faces_steps, self.config.seed)
        return face_nets.train_face_nets(self.face_data, self.work / "face_nets", stage, people=self.config.people)

    def load_faces(self) -> face_nets.FaceNets:
        nets = face_nets.FaceNets(self.config.people, self.shape.basis.shape[0], self.texture.basis.shape[0])
        load_checkpoint(self.work / "face_nets", nets)
        return nets.eval()

    def landmarks(self) -> LandmarkNet:
        stage = face_nets.photo_stage(self.config.landmark_steps, self.config.seed)
        points = data.load_shards(self.work / "landmarks", ("points",))["points"]
        return landmark_net.train_landmark_net(self.face_data, points, self.work / "landmark_net", stage)

    def load_landmarks(self) -> LandmarkNet:
        net = LandmarkNet(COUNT, self.shape.basis.shape[0])
        load_checkpoint(self.work / "landmark_net", net)
        return net.eval()

    def views(self, *names: str) -> dict[str, Array]:
        return data.load_shards(self.work / "views", names, self.config.prior_shards)

    def photo_views(self, views: dict[str, Array]) -> Array:
        """The views as photographs under random light, on plain backgrounds (N,S,S,3) uint8."""
        from .photos import Renders, relight

        out, g = [], torch.Generator().manual_seed(self.config.seed)
        for i in range(0, len(views["albedo"]), 64):
            rows = slice(i, i + 64)
            cover = torch.from_numpy(views["coverage"][rows].astype(np.float32) / 255)
            camera = torch.from_numpy(views["camera"][rows])
            light = torch.randn((len(cover), 3), generator=g) + torch.tensor([0.0, 0.5, 0.8])
            r = Renders(
                torch.from_numpy(views["albedo"][rows].astype(np.float32) / 255),
                torch.from_numpy(views["normal"][rows].astype(np.float32) / 255) * 2 - cover[..., None],
                cover,
                torch.ones_like(cover),
                torch.nn.functional.normalize(light, dim=1),
                camera[:, 0],
                camera[:, 1],
                torch.zeros(len(cover), 5, 2),
                torch.zeros_like(cover),
            )
            plain = torch.rand((len(cover), 1, 1, 3), generator=g)
            photo = relight(r, g) + (1 - cover[..., None]) * plain
            out.append((photo.clamp(0, 1) * 255).byte().numpy())
        return np.concatenate(out)

    def vae(self) -> None:
        views = self.views("albedo", "normal", "coverage", "camera")
        pictures = {"normal": views["normal"], "albedo": views["albedo"]}
        pictures["photo"] = self.photo_views({k: v[::PHOTO_STEP] for k, v in views.items()})
        vae = self.new_vae()
        config = prior_training.StageConfig(self.config.vae_steps, batch=16, lr=1e-3, seed=self.config.seed)
        prior_training.train_vae(
            vae, np.concatenate(list(pictures.values())), self.work / "vae", config, self.config.device
        )
        latents: dict[str, Any] = {
            domain: prior_training.encode_all(vae, p, device=self.config.device).numpy()
            for domain, p in pictures.items()
        }
        np.savez(self.work / "latents.npz", **latents)

    def new_vae(self) -> Any:
        """An untrained autoencoder, or the one of the pack that training goes on from."""
        vae = build_starter_vae()
        if self.config.init:
            vae.load_state_dict(type(vae).from_pretrained(Path(self.config.init) / "vae").state_dict())
        return vae

    def load_vae(self) -> Any:
        vae = self.new_vae()
        load_checkpoint(self.work / "vae", vae)
        return vae.eval()

    @cached_property
    def text(self) -> tuple[Any, Any]:
        torch.manual_seed(self.config.seed)
        tokenizer, encoder = build_starter_text(captions.vocabulary())
        if self.config.init:
            encoder.load_state_dict(type(encoder).from_pretrained(Path(self.config.init) / "text").state_dict())
        return tokenizer, encoder

    @cached_property
    def latent_scale(self) -> float:
        stored = np.load(self.work / "latents.npz")
        return float(1 / np.concatenate([stored["normal"][::20], stored["albedo"][::20]]).astype(np.float32).std())

    @cached_property
    def prior_data(self) -> prior_training.PriorData:
        from ..prior.model import tokenize

        stored = np.load(self.work / "latents.npz")
        views = self.views("coverage", "person", "expression", "camera", "close")
        tokenizer, names, kit = self.text[0], list(RECIPES), self.population.kit
        people = {int(s): captions.describe(kit, self.population.person(int(s))) for s in np.unique(views["person"])}
        tokens = {}
        for domain in ("normal", "albedo", "photo"):
            texts = [
                captions.caption(domain, view_name(float(c[0]), float(c[1])), names[int(e)], people[int(s)], bool(k))
                for c, e, s, k in zip(
                    views["camera"], views["expression"], views["person"], views["close"], strict=True
                )
            ]
            tokens[domain] = tokenize(tokenizer, texts)
        cover = torch.from_numpy(views["coverage"].astype(np.float32) / 255)
        small = torch.nn.functional.avg_pool2d(cover[:, None], cover.shape[1] // stored["normal"].shape[-1])[:, 0]
        scaled = {k: torch.from_numpy(stored[k]).float() * self.latent_scale for k in tokens}
        return prior_training.PriorData(
            scaled, tokens, tokenize(tokenizer, [""]), small, views["person"] - TRAIN_SEED, views["expression"]
        )

    def base(self) -> None:
        base = self.new_base()
        config = prior_training.StageConfig(self.config.base_steps, seed=self.config.seed, lr=6e-4)
        decode = decoder(self.load_vae().to(self.config.device), self.latent_scale)
        prior_training.train_base(base, self.prior_data, decode, self.work / "base", config, self.config.device)

    def new_base(self) -> prior_training.Base:
        torch.manual_seed(self.config.seed)
        base = prior_training.Base(build_starter_unet(), self.text[1])
        if self.config.init:
            unet = type(base.unet).from_pretrained(Path(self.config.init) / "unet")
            base.unet.load_state_dict(unet.state_dict())
        return base

    def load_base(self) -> prior_training.Base:
        base = self.new_base()
        load_checkpoint(self.work / "base", base)
        return base.eval().requires_grad_(False)

    @torch.no_grad()
    def expression_codes(self, base: prior_training.Base) -> Tensor:
        """y_exp (E,C): the text encoder's pooled vector of each expression's text, brought to unit variance."""
        from ..prior.model import tokenize

        pooled = base.text(tokenize(self.text[0], list(EXPRESSIONS.values()))).pooler_output.float()
        centred = pooled - pooled.mean(0)
        return centred / centred.std()

    @torch.no_grad()
    def identities(self, people: int) -> Tensor:
        """y_id (people, photos, 512) of the first training people, each from its own synthetic photographs."""
        from .photos import degrade, take_photo

        nets, faces = self.load_faces(), self.face_data
        photos = int(np.bincount(faces.label).max())
        out = torch.zeros(people, photos, 512)
        seen = np.zeros(people, int)
        g = torch.Generator().manual_seed(self.config.seed)
        wanted = np.nonzero(faces.label < people)[0]
        for rows in np.array_split(wanted, max(1, len(wanted) // 60)):
            renders, label = face_nets.batch_of(faces, rows)
            crops = degrade(face_nets.arcface_crops(take_photo(renders, g), renders.keypoints, g, 0.5), g)
            y = torch.nn.functional.normalize(nets.recogniser(face_nets.to_net(crops)), dim=1)
            for who, vector in zip(label, y, strict=True):
                out[who, seen[who] % photos] = vector
                seen[who] += 1
        return out

    def domains(self) -> None:
        base = self.load_base()
        y_exp, y_id = self.expression_codes(base), self.identities(int(self.prior_data.person.max()) + 1)
        text_of = torch.no_grad()(lambda tokens: base.text(tokens).last_hidden_state)
        decode = decoder(self.load_vae().to(self.config.device), self.latent_scale)
        for domain in self.config.domains.split(","):
            torch.manual_seed(self.config.seed)
            unet = build_starter_unet()
            unet.load_state_dict(base.unet.state_dict())
            attach(unet.requires_grad_(False), AdapterConfig(exp_dim=y_exp.shape[1]))
            config = prior_training.StageConfig(
                self.config.domain_steps, seed=self.config.seed + 1, lr=1e-3, weight_decay=0.0
            )
            folder = self.work / domain
            prior_training.train_domain(
                unet, text_of, self.prior_data, domain, y_id, y_exp, decode, folder, config, self.config.device
            )

    def geometry(self) -> None:
        from .geometry import train_geometry

        train_geometry(self)

    def pack(self) -> None:
        from .export import write_pack

        write_pack(self)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="idto3d train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stages", nargs="*", metavar="stage", help=f"any of {', '.join(STAGES)}; none: all")
    for field in dataclasses.fields(TrainConfig):
        kind = {"str": str, "int": int}[str(field.type)]
        required = field.default is dataclasses.MISSING
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            required=required,
            default=None if required else field.default,
        )
    given = parser.parse_args(arguments)
    stages = given.stages or list(STAGES)
    if unknown := set(stages) - set(STAGES):
        parser.error(f"unknown stage: {', '.join(sorted(unknown))}")
    run = Run(TrainConfig(**{f.name: getattr(given, f.name) for f in dataclasses.fields(TrainConfig)}))
    for stage in STAGES:
        if stage in stages:
            print(f"== {stage}", flush=True)
            getattr(run, stage)()
