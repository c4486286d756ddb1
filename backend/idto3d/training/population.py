# SPDX-License-Identifier: GPL-3.0-or-later
"""The synthetic people of training and evaluation: shapes of the head model; skins, hair and brows of the head kit."""

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..arrays import Array
from ..headmodel import HeadModel
from ..mesh.surface import vertex_normals
from .accessories import make_glasses, paint_clothes
from .captions import Traits
from .kit import average_identity, kit_skin, load_kit
from .kit_landmarks import find_landmarks
from .paint import Paint
from .pictures import Drawing
from .registration import register, similarity
from .store import stored
from .transfer import Hairstyle, Transfer, build_transfer, seat_hair, skin_displacement, with_skin

TRAIN_SEED = 1_000_000
EVAL_SEED = 9_000_000
"""People that no training run ever draws."""

DRAWN = ("face", "back_head", "mouth_socket", "eye_socket", "gums", "tongue", "teeth", "sclera")
"""Parts that are rendered: films are transparent, and the iris is behind the painted eyeball."""

_KIT_SHARE = 0.8
"""Share of the kit's shape changes by age, build and sex that is added to the modes, which contain some of them."""

_LIPS, _LIP_GAP, _LIP_MOST = (13, 14), 0.0006, 0.12  # landmarks of the inner lips; metres; share of mouthClose


@dataclass(frozen=True, eq=False)
class Shell:
    """Something on the neutral head, rigid when the face moves: vertices (V,3) metres, normals (V,3), triangles (F,3),
    uv (V,2), texture (S,S,3) sRGB 0..1; hair or not."""

    vertices: Array
    normals: Array
    triangles: Array
    uv: Array
    texture: Array
    hair: bool


@dataclass(frozen=True, eq=False)
class Person:
    """identity (M,) and displacement (P,3) metres of the head model, and neutral (P,3), the head that they make; maps:
    material -> (S,S,3) sRGB 0..1; shells: hair, glasses; traits: what is said of them; code: the kit's own numbers."""

    seed: int
    identity: Array
    displacement: Array
    neutral: Array
    maps: dict[str, Array]
    shells: tuple[Shell, ...]
    traits: Traits
    code: Array


@dataclass(frozen=True)
class Looks:
    """Traits that a prompt may change. male 0..1; age years; weight 0..1; beard 0 none, 1 stubble, 2 full; dye and cut:
    random numbers for hair colour and style."""

    male: float
    age: float
    weight: float
    beard: int
    freckles: bool
    glasses: bool
    dye: float
    cut: float


def _draw_looks(rng: np.random.Generator) -> Looks:
    part = float(np.clip(abs(rng.normal(0, 0.12)), 0, 0.45))
    male = 1.0 - part if rng.random() < 0.5 else part
    return Looks(
        male,
        float(rng.uniform(18, 88)),
        float(np.clip(rng.normal(0.5, 0.3), 0, 1)),
        int(rng.choice(3, p=(0.4, 0.2, 0.4))),
        bool(rng.random() < 0.2),
        bool(rng.random() < 0.2),
        float(rng.random()),
        float(rng.random()),
    )


class Population:
    """Random people on a head model, deterministic: `person(seed)`."""

    def __init__(self, model: HeadModel, kit: Any, transfer: Transfer) -> None:
        self.model, self.kit, self.transfer = model, kit, transfer
        self._average = kit_skin(kit, average_identity(kit)).vertices
        self._paint = Paint(model, kit, transfer)
        self._shown = model.faces_of(*DRAWN)[model.triangle_quad]
        self._triangles = model.triangles[self._shown]

    def person(self, seed: int, edit: int = 0) -> Person:
        """One person by seed. edit: 0: unchanged; n > 0: the same person with some other traits (older, bald, freckled,
        ...), as a prompt may ask for."""
        identity = np.random.default_rng([seed, 3]).standard_normal(len(self.model.identity))
        looks = self._looks(seed, edit)
        code, rng = self._code(seed, looks), np.random.default_rng([seed, 7])
        displacement = skin_displacement(self.transfer, self.model, self._kit_motion(code))
        shape = self.model.shape(identity)
        displacement += self._closed_lips(shape + displacement)
        maps = self._paint.maps(code, looks.beard if looks.male > 0.5 else 0, looks.freckles, rng)
        head = shape + displacement
        shells = self._hair(code, head) + (self._glasses(head, rng) if looks.glasses else ())
        return Person(seed, identity, displacement, head, maps, shells, self._traits(code, looks), code)

    def sibling(self, person: Person, number: int) -> Person:
        """Another one (1, 2, ...) with the same skin, hair and build: the modes alone are drawn anew. Hair moves with
        the skin below it: seating it costs as much as a photograph."""
        rng = np.random.default_rng([person.seed, 3, number])
        identity = rng.standard_normal(len(self.model.identity))
        head = self.model.shape(identity) + person.displacement
        closing = self._closed_lips(head)
        head = head + closing
        moved = head - person.neutral
        hair = tuple(
            replace(shell, vertices=with_skin(self._style(person.code), shell.vertices, moved))
            for shell in person.shells
            if shell.hair
        )
        shells = hair + (self._glasses(head, rng) if person.traits.glasses else ())
        displacement = person.displacement + closing
        return replace(person, identity=identity, displacement=displacement, neutral=head, shells=shells)

    def dressed(self, person: Person) -> Person:
        """The person with clothes painted on neck and shoulders, as photographs show people."""
        rng = np.random.default_rng([person.seed, 11])
        return replace(person, maps=paint_clothes(person.maps, self.transfer.position, rng))

    def _looks(self, seed: int, edit: int) -> Looks:
        looks = _draw_looks(np.random.default_rng([seed, 6]))
        if not edit:
            return looks
        rng = np.random.default_rng([seed, 8, edit])
        other = _draw_looks(rng)
        names = [f.name for f in fields(Looks)]
        # sex is seldom changed, the rest often, and at least the age
        taken = [n for n in names if rng.random() < (0.15 if n == "male" else 0.4)] or ["age"]
        return replace(looks, **{n: getattr(other, n) for n in taken})

    def _code(self, seed: int, looks: Looks) -> Array:
        """The kit's code; genes (skin, brows, eyes, when hair turns grey) do not depend on the looks."""
        rng = np.random.default_rng([seed, 5])
        code: Array = self.kit.sample_identity(rng, age_years=looks.age, gender=looks.male, stubble=0.0)
        self._set(code, weight=looks.weight, muscle=float(np.clip(rng.normal(0.5, 0.2), 0, 1)))
        colour = np.random.default_rng([seed, 9, int(looks.dye * 1e6)])
        if looks.dye < 0.35:  # another colour than that of the kit's genes
            dark, warm = colour.random() ** 1.5, colour.random()
            r, g, b = np.clip((0.06 + 0.7 * dark) * np.array([1.0, 0.8, 0.62]) ** (0.3 + 1.2 * warm), 0.02, 0.95)
            self._set(code, hair_r=r, hair_g=g, hair_b=b)
        elif looks.dye < 0.5:
            r, g, b = colour.uniform(0.4, 0.78) * np.array([1.0, 0.985, 0.96])
            self._set(code, hair_r=r, hair_g=g, hair_b=b)
        code[self._index("hair_style")] = self._hair_style(
            code, np.random.default_rng([seed, 10, int(looks.cut * 1e6)])
        )
        return code

    def drawing(self, person: Person, expression: Array | None = None) -> Drawing:
        """The person with expression (E,) coefficients, ready to draw."""
        head = person.neutral
        if expression is not None:
            moving = np.flatnonzero(expression)
            head = head + np.tensordot(expression[moving], self.model.expression[moving], 1)
        own = self._shown
        vertices, normals = [head], [vertex_normals(head, self._triangles)]
        triangles, uv, triangles_uv = [self._triangles], [self.model.uv], [self.model.triangles_uv[own]]
        kinds = [self.model.material[self.model.triangle_quad[own]]]
        hair = [np.zeros(len(self._triangles), bool)]
        textures = [person.maps[m.name] for m in self.model.materials]
        count, count_uv = len(head), len(self.model.uv)
        for shell in person.shells:
            vertices.append(shell.vertices)
            normals.append(shell.normals)
            triangles.append(shell.triangles + count)
            uv.append(shell.uv)
            triangles_uv.append(shell.triangles + count_uv)
            kinds.append(np.full(len(shell.triangles), len(textures)))
            hair.append(np.full(len(shell.triangles), shell.hair))
            textures.append(shell.texture)
            count, count_uv = count + len(shell.vertices), count_uv + len(shell.uv)

        def tensor(parts: list[Array], kind: Any) -> torch.Tensor:
            return torch.from_numpy(np.concatenate(parts).astype(kind))

        return Drawing(
            tensor(vertices, np.float32),
            tensor(normals, np.float32),
            tensor(triangles, np.int64),
            tensor(uv, np.float32),
            tensor(triangles_uv, np.int64),
            tensor(kinds, np.int64),
            tuple(torch.from_numpy(np.ascontiguousarray(t, np.float32)) for t in textures),
            tensor(hair, bool),
        )

    # ------------------------------------------------------------------ shape
    def _kit_motion(self, code: Array) -> Array:
        """(V,3) metres: the kit's shape change by sex, age, build and descent, after alignment to its average."""
        names = ("gender", "age_years", "african", "asian", "caucasian", "muscle", "weight")
        macro = average_identity(self.kit, **{n: self.kit.get(code, n) for n in names})
        moved = kit_skin(self.kit, macro).vertices
        outer = np.unique(self.transfer.kit.triangles)
        aligned = similarity(moved[outer], self._average[outer])(moved)
        return _KIT_SHARE * (aligned - self._average)

    def _closed_lips(self, head: Array) -> Array:
        """(P,3) metres: the amount of mouthClose that leaves a small gap between the lips of a neutral head, since
        random modes leave them apart or intersecting."""
        corners, weights = self.model.landmark_triangle, self.model.landmark_barycentric
        close = self.model.expression[self.model.expression_names.index("mouthClose")].astype(np.float64)

        def gap(points: Array) -> float:
            upper, lower = (float(weights[n] @ points[corners[n], 1]) for n in _LIPS)
            return upper - lower

        return close * float(np.clip((_LIP_GAP - gap(head)) / gap(close), -_LIP_MOST, _LIP_MOST))

    def _index(self, name: str) -> int:
        return self.kit.identity_names.index(name)

    def _set(self, code: Array, **values: float) -> None:
        for name, value in values.items():
            code[self._index(name)] = value

    def _hair_style(self, code: Array, rng: np.random.Generator) -> float:
        """A style of the kit, or -1 for none; one that hides an eye is rare."""
        male, age = self.kit.get(code, "gender") > 0.5, self.kit.get(code, "age_years")
        names = [n for n in self.kit.hair_names if rng.random() < 0.15 or not n.startswith(("short03", "bob02"))]
        short = [n for n in names if n.startswith("short")]
        long = [n for n in names if not n.startswith("short")]
        u = rng.random()
        bald, cut = (0.12 + 0.2 * (age > 50), 0.9) if male else (0.04, 0.3)
        if u < bald:
            return -1.0
        return float(self.kit.hair_names.index(str(rng.choice(short if u < cut else long))))

    # ------------------------------------------------------------------ looks
    def _hair(self, code: Array, head: Array) -> tuple[Shell, ...]:
        if round(self.kit.get(code, "hair_style")) < 0:
            return ()
        style = self._style(code)
        vertices, normals = seat_hair(style, self.model, head)
        part = self.kit.mesh(code, parts=("head", "hair"))["hair"]
        image = self.kit.part_texture(code, part)[..., :3].astype(np.float32) / 255
        step = max(1, len(image) // 256)
        pooled = image.reshape(len(image) // step, step, -1, step, 3).mean((1, 3))
        return (Shell(vertices, normals, style.triangles, style.uv, pooled, True),)

    def _style(self, code: Array) -> Hairstyle:
        number = int(round(self.kit.get(code, "hair_style")))
        return self.transfer.hairstyles[min(number, len(self.transfer.hairstyles) - 1)]

    def _glasses(self, head: Array, rng: np.random.Generator) -> tuple[Shell, ...]:
        vertices, triangles = make_glasses(self.model, head, rng)
        colour = rng.uniform(0.02, 0.15, 3) if rng.random() < 0.7 else rng.uniform(0.2, 0.7, 3)
        texture = np.broadcast_to(np.float32(colour), (4, 4, 3))
        normals = vertex_normals(vertices, triangles)
        return (Shell(vertices, normals, triangles, np.zeros((len(vertices), 2)), texture, False),)

    def _traits(self, code: Array, looks: Looks) -> Traits:
        get = self.kit.get
        tone = get(code, "african") + 0.3 * get(code, "asian") + 0.2 * get(code, "skin_melanin")
        style = int(round(get(code, "hair_style")))
        name = self.kit.hair_names[style] if style >= 0 else ""
        length = 0 if style < 0 else 1 if name.startswith("short") else 2 if name.startswith("bob") else 3
        if name.startswith(("ponytail", "braid")):
            length = 4
        return Traits(
            sex=int(looks.male > 0.5),
            age=int(np.searchsorted([28, 42, 57, 72], looks.age)),
            weight=int(np.searchsorted([0.15, 0.35, 0.65, 0.85], looks.weight)),
            skin=3 - int(np.searchsorted([0.2, 0.35, 0.65], tone)),
            length=length,
            colour=_colour_word(self._paint.hair_colour(code)),
            beard=looks.beard if looks.male > 0.5 else 0,
            wrinkled=looks.age > 60,
            freckles=looks.freckles,
            glasses=looks.glasses,
        )


@lru_cache(maxsize=1)
def load_population(model: HeadModel, headkit: str | Path, facenets: str | Path, work: Path) -> Population:
    """The population of a head model, of which the last is kept; the registration is made once and kept in `work`.

    Raises UserError E_KIT_MISSING where there is no head kit.
    """
    kit = load_kit(headkit)
    skin = kit_skin(kit, average_identity(kit))

    def make() -> dict[str, Array]:
        marks = find_landmarks(kit, skin, Path(facenets) / "face_landmarks_detector.onnx")
        return {"registered": register(skin, marks, model)}

    registered = stored(work / "registration.npz", make)["registered"]
    return Population(model, kit, build_transfer(kit, model, registered))


def _colour_word(colour: Array) -> int:
    """Index into captions' colours."""
    r, g, _ = colour
    high, low = float(colour.max()), float(colour.min())
    saturation = (high - low) / max(high, 1e-3)
    if saturation < 0.2 and high > 0.3:
        return 6 if high > 0.58 else 5
    if high < 0.14:
        return 0
    if r > 1.9 * g and high > 0.22:
        return 3
    if high > 0.5:
        return 4
    return 1 if high < 0.26 else 2
