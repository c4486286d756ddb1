# SPDX-License-Identifier: GPL-3.0-or-later
"""The head model of a pack: one topology, what people differ in, what faces can do, and what each place is.

Nothing outside this room knows a vertex number, a part's place in the UV or a length of one particular model: another
model is another file. Head frame: metres, right handed, +Y up, +Z out of the face, +X the person's left.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..arrays import Array
from ..errors import PACK_AGAIN, UserError
from ..mesh.surface import split_quads

LANDMARKS = 478
"""MediaPipe's face mesh (468) and irises (10)."""
SKIN_PARTS = ("face", "back_head")
_SHAPES: dict[str, tuple[str | int, ...]] = {
    "neutral": ("P", 3),
    "quads": ("T", 4),
    "uv": ("N", 2),
    "quads_uv": ("T", 4),
    "part": ("T",),
    "material": ("T",),
    "identity": ("M", "P", 3),
    "expression": ("E", "P", 3),
    "landmark_triangle": (LANDMARKS, 3),
    "landmark_barycentric": (LANDMARKS, 3),
    "landmark_trust": (LANDMARKS,),
    "mirror": ("P",),
    "rigid": ("P",),
    "scalp": ("P",),
    "complexion_mean": ("P", 3),
    "complexion_slope": ("P", 3),
    "landmark_identity": ("M", LANDMARKS, 3),
    "landmark_shift": (LANDMARKS, 3),
    "landmark_scatter": ("R", LANDMARKS, 2),
    "landmark_distance": (2,),
    "feature_mean": ("F",),
    "feature_scale": ("F",),
    "feature_weights": ("F", "L"),
    "feature_bias": ("L",),
    "feature_errors": (2, "L", "L"),
    "feature_inflation": (),
    "shading_points": ("S",),
    "shading_mean": ("S",),
    "shading_ways": ("S", "W"),
    "shading_noise": ("S",),
    "shading_weight": (),
    "shading_residual": (),
}
_GROUPS = tuple(tuple(n for n in _SHAPES if n.startswith(g)) for g in ("complexion_", "feature_", "shading_"))
_OPTIONAL = (
    "landmark_identity", "landmark_shift", "landmark_scatter", "landmark_distance", *sum(_GROUPS, ()),
)  # fmt: skip
_HALVED = ("identity", "expression", "landmark_identity", "landmark_scatter", "feature_weights", "shading_ways",
           "complexion_mean", "complexion_slope")  # fmt: skip
_INTEGERS = ("quads", "quads_uv", "part", "material", "landmark_triangle", "mirror", "shading_points")


@dataclass(frozen=True)
class Material:
    """How a group of parts looks where nothing better is known: albedo sRGB 0..1, roughness, specular (Principled
    BSDF's scale), and whether the photographs' evidence is laid on it."""

    name: str
    albedo: tuple[float, float, float]
    roughness: float
    specular: float
    evidence: bool


@dataclass(frozen=True, eq=False)
class HeadModel:
    """neutral (P,3) metres; quads (T,4), -1 last in a triangle; uv (N,2) 0..1 in its material's map, v up; quads_uv
    (T,4); part (T,) into part_names; material (T,) into materials; identity (M,P,3), one standard deviation a mode;
    expression (E,P,3) at full strength, named as ARKit's with _L and _R; landmark_*: where each of the 478 landmarks
    lies, trust 0..1, 0 where it has no place; mirror (P,) the vertex on the other side; rigid (P,) 1 where expressions
    may not move the skin; scalp (P,) 0..1 where hair may grow.

    How skin usually varies over a head: complexion_mean (P,3), the logarithm of its linear albedo over its tone, were
    the tone's own logarithm 0, and complexion_slope (P,3), the change with that. None where that is not known.

    How a landmark net errs, by default not at all: landmark_identity (M,478,3) metres, what it reports of a mode, None
    for what it moves; landmark_shift (478,3) metres, what it reports of the mean head off its places; landmark_scatter
    (R,478,2) metres, right and up in a picture of an upright face, in which ways landmarks err together, one standard
    deviation each; landmark_distance (2,), offset and slope of the camera's inverse distance, 1 over metres, by what
    landmarks alone would have it, None where they are not asked.

    What its features, standardised by feature_mean and feature_scale (F,), say of the identity and of how much
    landmarks err in each way of landmark_scatter (L = M + R): feature_weights (F,L) and feature_bias (L,);
    feature_errors (2,L,L): covariance of what that misses, in common in all photographs of a person and of each;
    feature_inflation: how many times as much of the latter real photographs have as rendered ones. None where that is
    not known.

    What skin adds to the logarithm of its shading at vertices shading_points (S,): shading_mean (S,), the ways in which
    that varies, shading_ways (S,W), one standard deviation each, and the variance of each point besides, shading_noise
    (S,); shading_weight: that of a point, as neighbours err together beyond what the ways say; shading_residual: mean
    square of what a usual photograph leaves, whitened. None where that is not known.
    """

    neutral: Array
    quads: Array
    uv: Array
    quads_uv: Array
    part: Array
    material: Array
    identity: Array
    expression: Array
    landmark_triangle: Array
    landmark_barycentric: Array
    landmark_trust: Array
    mirror: Array
    rigid: Array
    scalp: Array
    part_names: tuple[str, ...]
    expression_names: tuple[str, ...]
    materials: tuple[Material, ...]
    complexion_mean: Array | None = None
    complexion_slope: Array | None = None
    landmark_identity: Array | None = None
    landmark_shift: Array = field(default_factory=lambda: np.zeros((LANDMARKS, 3), np.float32))
    landmark_scatter: Array = field(default_factory=lambda: np.zeros((0, LANDMARKS, 2), np.float32))
    landmark_distance: Array | None = None
    feature_mean: Array | None = None
    feature_scale: Array | None = None
    feature_weights: Array | None = None
    feature_bias: Array | None = None
    feature_errors: Array | None = None
    feature_inflation: Array | None = None
    shading_points: Array | None = None
    shading_mean: Array | None = None
    shading_ways: Array | None = None
    shading_noise: Array | None = None
    shading_weight: Array | None = None
    shading_residual: Array | None = None

    @cached_property
    def triangles(self) -> Array:
        """(F,3) int64: every quad as two triangles."""
        return split_quads(self.quads, self.quads)

    @cached_property
    def triangles_uv(self) -> Array:
        """(F,3) int64, corners of `triangles` in `uv`."""
        return split_quads(self.quads_uv, self.quads)

    @cached_property
    def triangle_quad(self) -> Array:
        """(F,) the quad that each of `triangles` is half of."""
        return np.concatenate([np.arange(len(self.quads)), np.flatnonzero(self.quads[:, 3] >= 0)])

    def faces_of(self, *parts: str) -> Array:
        """(T,) bool: quads of the named parts. A part that the model does not have has none."""
        wanted = [n for n, name in enumerate(self.part_names) if name in parts]
        return np.isin(self.part, wanted)

    def vertices_of(self, *parts: str) -> Array:
        """(P,) bool: vertices of the named parts."""
        used = self.quads[self.faces_of(*parts)]
        out: Array = np.zeros(len(self.neutral), bool)
        out[used[used >= 0]] = True
        return out

    def triangles_of(self, *parts: str) -> Array:
        """(F',3) triangles of the named parts."""
        return self.triangles[self.faces_of(*parts)[self.triangle_quad]]

    def landmarks(self, field: Array) -> Array:
        """(...,478,C) float64: what a field over the vertices (...,P,C) is at the landmarks."""
        corners = field[..., self.landmark_triangle, :]
        return np.einsum("...kjc,kj->...kc", corners, self.landmark_barycentric, dtype=np.float64)

    def expression_vector(self, weights: Mapping[str, float]) -> Array:
        """(E,) coefficients of named weights; a name without _L or _R that the model has on both sides means both.

        Raises KeyError for a name that the model does not have.
        """
        index = {name: n for n, name in enumerate(self.expression_names)}
        out = np.zeros(len(index), np.float64)
        for name, weight in weights.items():
            for own in (name,) if name in index else (f"{name}_L", f"{name}_R"):
                out[index[own]] = weight
        return out

    def shape(self, identity: Array) -> Array:
        """(P,3) float64: the neutral head of identity (M,)."""
        out = self.neutral + np.tensordot(np.asarray(identity, np.float32), self.identity, 1)
        return out.astype(np.float64)

    def motion(self, expression: Array) -> Array:
        """(P,3) float64: how expression (E,) moves a head from neutral."""
        return np.tensordot(np.asarray(expression, np.float32), self.expression, 1).astype(np.float64)


def load_head_model(path: Path) -> HeadModel:
    """Read head.safetensors. Raises UserError E_PACK_FORMAT where it is no head model.

    The last one is kept while its file stays as it is, and with it what is made once a model: a second head starts
    sooner.
    """
    try:
        file = path.stat()
    except OSError:  # reading it says what is the matter
        return _load(path, (0, 0))
    return _load(path, (file.st_mtime_ns, file.st_size))


@lru_cache(maxsize=1)
def _load(path: Path, _state: tuple[int, int]) -> HeadModel:
    try:
        with safe_open(path, "numpy") as stored:
            metadata = stored.metadata() or {}
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}
        names = json.loads(metadata["part_names"]), json.loads(metadata["expression_names"])
        materials = tuple(
            Material(m["name"], tuple(m["albedo"]), m["roughness"], m["specular"], m["evidence"])
            for m in json.loads(metadata["materials"])
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError("E_PACK_FORMAT", f"{path.name} is not a head model ({error}).", PACK_AGAIN) from error
    for name, array in arrays.items():
        arrays[name] = array.astype(_kind(name, np.int64, np.float32))
    _check(path.name, arrays, names)
    return HeadModel(
        **{f.name: arrays[f.name] for f in fields(HeadModel) if f.name in arrays},
        part_names=tuple(names[0]),
        expression_names=tuple(names[1]),
        materials=materials,
    )


def save_head_model(model: HeadModel, path: Path) -> None:
    """Write head.safetensors; displacements (steps of under 0.01 mm), regressions, complexions in half precision."""
    arrays = {}
    for name in _SHAPES:
        if getattr(model, name) is None:
            continue
        kind = np.float16 if name in _HALVED else _kind(name, np.int32, np.float32)
        arrays[name] = np.asarray(getattr(model, name), kind, order="C")
    metadata = {
        "part_names": json.dumps(model.part_names),
        "expression_names": json.dumps(model.expression_names),
        "materials": json.dumps([m.__dict__ for m in model.materials]),
    }
    save_file(arrays, path, metadata)


def _kind(name: str, whole: Any, real: Any) -> Any:
    """Single numbers, which people write, stay what they are written as."""
    return whole if name in _INTEGERS else real if _SHAPES.get(name) else np.float64


def _check(file: str, arrays: dict[str, Array], names: tuple[Any, Any]) -> None:
    def refuse(what: str) -> UserError:
        return UserError("E_PACK_FORMAT", f"{file} is not a head model: {what}.", PACK_AGAIN)

    sizes: dict[str, int] = {}
    for name, shape in _SHAPES.items():
        if name not in arrays:
            if name in _OPTIONAL:
                continue
            raise refuse(f"it has no {name}")
        array = arrays[name]
        if array.ndim != len(shape) or any(
            n != (sizes.setdefault(s, n) if isinstance(s, str) else s) for s, n in zip(shape, array.shape, strict=True)
        ):
            raise refuse(f"{name} has the shape {array.shape}")
        if not np.isfinite(array).all():
            raise refuse(f"{name} holds values that are not finite")
    known = (("shading_points", "P"),) if "shading_points" in arrays else ()
    for name, target in (("quads", "P"), ("quads_uv", "N"), ("landmark_triangle", "P"), ("mirror", "P"), *known):
        low = -1 if name.startswith("quads") else 0
        if arrays[name].min(initial=0) < low or arrays[name].max(initial=0) >= sizes[target]:
            raise refuse(f"{name} points outside")
    for group in _GROUPS:
        if 0 < sum(name in arrays for name in group) < len(group):
            raise refuse(f"of {', '.join(group)} it has some only")
    for name in ("feature_scale", "feature_inflation", "shading_noise", "shading_weight", "shading_residual"):
        if name in arrays and not (arrays[name].size and arrays[name].min() > 0):
            raise refuse(f"{name} is not positive")
    if arrays.get("feature_inflation", 1) < 1:
        raise refuse("its features tell more of real photographs than of those that they were learnt from")
    if sizes.get("L", sizes["M"] + sizes.get("R", 0)) != sizes["M"] + sizes.get("R", 0):
        raise refuse("its features speak of other modes and errors")
    if len(names[1]) != sizes["E"] or len(set(names[1])) != sizes["E"]:
        raise refuse("the names of the expressions do not fit")
    if arrays["part"].min() < 0 or arrays["part"].max() >= len(names[0]):
        raise refuse("a face belongs to no part")
