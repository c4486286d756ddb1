# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a pack's head.safetensors of ICT-FaceKit "light" (USC ICT, MIT licence) and of the places of MediaPipe's
landmarks on it. The only module that knows this model's vertices, lengths and names.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ..arrays import Array
from ..errors import UserError
from ..headmodel import HeadModel, Material
from ..headmodel.model import LANDMARKS, SKIN_PARTS
from .bust import level_bust
from .lash_curl import curl_lashes

_SCALE = 0.01  # the kit is in centimetres
_TWINS = {311: 81}  # a landmark on the lip that the places lack, and the one on the other side
_RIGHT_IRIS, _LEFT_IRIS = 468, 473  # of the person: MediaPipe counts the eye of landmarks 33 and 133 first
# The kit's resting lips reach into each other. With this little of mouthClose taken back they just touch no more: the
# mean head's skin has no self-intersection.
_LIPS_APART = -0.008
_STILL_AT_ALL = 1e-5  # metres
_STILL = 5e-5  # metres that an expression may move a vertex that counts as rigid

PARTS = (
    "face",
    "back_head",
    "mouth_socket",
    "eye_socket",
    "gums",
    "tongue",
    "teeth",
    "sclera",
    "iris",
    "lacrimal",
    "eye_blend",
    "eye_occlusion",
    "lashes",
)
_MATERIAL_PART = {
    "M_Face": "face",
    "M_BackHead": "back_head",
    "M_GumsTongue": "gums",
    "M_Teeth": "teeth",
    "M_ScleraLeft": "sclera",
    "M_ScleraRight": "sclera",
    "M_IrisLeft": "iris",
    "M_IrisRight": "iris",
    "M_LacrimalFluid": "lacrimal",
    "M_EyeBlend": "eye_blend",
    "M_EyeOcclusion": "eye_occlusion",
    "M_EyeLashes": "lashes",
}
_SOCKETS = {"mouth_socket": (11144, 13226), "eye_socket": (13226, 14034)}  # faces; the kit calls them back of head
_TONGUE_FACE = 16572
MATERIALS = (
    Material("skin", (0.78, 0.60, 0.51), 0.48, 0.4, True),
    Material("head", (0.74, 0.56, 0.47), 0.52, 0.4, True),
    Material("mouth", (0.62, 0.33, 0.31), 0.30, 0.5, False),
    Material("teeth", (0.87, 0.83, 0.74), 0.22, 0.5, False),
    Material("eyes", (0.90, 0.87, 0.84), 0.12, 0.31, False),  # of a cornea: F0 .025, not .04
    Material("iris", (0.30, 0.20, 0.13), 0.20, 0.5, False),
    Material("tears", (0.95, 0.95, 0.95), 0.05, 0.5, False),
    Material("lashes", (0.08, 0.06, 0.05), 0.60, 0.2, False),
)
_MATERIAL_OF_PART = {
    "face": "skin",
    "back_head": "head",
    "mouth_socket": "head",  # sockets have places of their own in the head's tile
    "eye_socket": "head",
    "gums": "mouth",
    "tongue": "mouth",
    "teeth": "teeth",
    "sclera": "eyes",
    "iris": "iris",
    "lacrimal": "tears",
    "eye_blend": "tears",
    "eye_occlusion": "tears",
    "lashes": "lashes",
}


def build_head_model(ictkit: Path, landmarks: Path) -> HeadModel:
    """The head model of ictkit/ict.npz and of landmarks, the .npz of MediaPipe's 468 places on it.

    All expressions but the pupils'. Raises UserError E_KIT_MISSING where a file is missing.
    """
    for file in (ictkit / "ict.npz", landmarks):
        if not file.is_file():
            raise UserError("E_KIT_MISSING", f"There is no {file.name} at {file.parent}.", "Pass --ictkit, --facenets.")
    with np.load(ictkit / "ict.npz") as kit, np.load(landmarks) as places:
        quads = kit["faces"].astype(np.int64)
        names = [str(n) for n in kit["expression_names"]]
        kept = [n for n, name in enumerate(names) if not name.startswith("PupilDilate")]
        expression = kit["expression"][kept].astype(np.float32) * np.float32(_SCALE)
        lips = expression[[names[n] for n in kept].index("mouthClose")]
        neutral = kit["neutral"].astype(np.float64) * _SCALE + _LIPS_APART * lips
        quads_uv = kit["faces_uv"].astype(np.int64)
        part = _parts(quads_uv, kit["material"], [str(m) for m in kit["material_names"]])
        material_names = [m.name for m in MATERIALS]
        mirror = mirror_vertices(neutral, vertex_group(quads, part, len(neutral)))
        expression = symmetric(expression, [names[n] for n in kept], mirror)
        triangle, barycentric, trust = _landmarks(neutral, quads, part, dict(places))
        for lost, twin in _TWINS.items():
            triangle[lost], barycentric[lost], trust[lost] = mirror[triangle[twin]], barycentric[twin], trust[twin]
        model = HeadModel(
            neutral=neutral.astype(np.float32),
            quads=quads,
            uv=_side_by_side(kit, quads, quads_uv, part),
            quads_uv=quads_uv,
            part=part,
            material=np.array([material_names.index(_MATERIAL_OF_PART[p]) for p in PARTS])[part],
            identity=kit["identity"].astype(np.float32) * np.float32(_SCALE),
            expression=expression,
            landmark_triangle=triangle,
            landmark_barycentric=barycentric,
            landmark_trust=trust,
            mirror=mirror,
            rigid=(np.linalg.norm(expression, axis=2).max(0) < _STILL).astype(np.float32),
            scalp=_scalp(neutral, quads, part),
            part_names=PARTS,
            expression_names=tuple(names[n] for n in kept),
            materials=MATERIALS,
        )
        skin = model.triangles_of(*SKIN_PARTS)
        standing = level_bust(model.neutral.astype(np.float64), skin).astype(np.float32)
        return curl_lashes(replace(model, neutral=standing))


def symmetric(expression: Array, names: list[str], mirror: Array) -> Array:
    """expression (E,P,3) whose left shapes are the right ones' mirror images, each the mean of both: the kit's differ
    by up to 3 mm. Motions of less than `_STILL_AT_ALL` are none, which keeps keys small."""
    other = [names.index(_other_side(name)) for name in names]
    mirrored = expression[other][:, mirror] * np.array([-1.0, 1.0, 1.0], np.float32)
    out: Array = 0.5 * (expression + mirrored)
    out[np.abs(out).max(2) < _STILL_AT_ALL] = 0.0
    return out.astype(np.float32)


def _other_side(name: str) -> str:
    for one, other in (("_L", "_R"), ("_R", "_L"), ("Left", "Right"), ("Right", "Left")):
        if name.endswith(one):
            return name.removesuffix(one) + other
    return name


def vertex_group(quads: Array, part: Array, count: int) -> Array:
    """(count,) the lowest part that each vertex belongs to; -1 where none does."""
    out = np.full(count, len(PARTS))
    corner = np.broadcast_to(part[:, None], quads.shape)
    np.minimum.at(out, quads[quads >= 0], corner[quads >= 0])
    return np.where(out == len(PARTS), -1, out)


def mirror_vertices(points: Array, group: Array) -> Array:
    """(P,) for each vertex the one of its group that is nearest to its reflection in x = 0; points (P,3).

    An involution: pairs are formed from the closest on, and each vertex is in one pair only (with itself on the seam).
    """
    out = np.zeros(len(points), np.int64)
    for g in np.unique(group):
        own = np.flatnonzero(group == g)
        near = min(len(own), 8)
        distance, other = cKDTree(points[own]).query(points[own] * [-1.0, 1.0, 1.0], k=[*range(1, near + 1)])
        partner = np.full(len(own), -1)
        for flat in np.argsort(distance, axis=None, kind="stable"):
            a, b = flat // near, other.flat[flat]
            if partner[a] < 0 and partner[b] < 0:
                partner[a], partner[b] = b, a
        alone = partner < 0
        partner[alone] = other[alone, 0]
        out[own] = own[partner]
    return out


def _parts(quads_uv: Array, material: Array, material_names: list[str]) -> Array:
    part: Array = np.array([PARTS.index(_MATERIAL_PART[name]) for name in material_names])[material]
    for name, (first, last) in _SOCKETS.items():
        part[first:last] = PARTS.index(name)
    # gums, palate and tongue hang together; in the UV the tongue is an island
    part[uv_islands(quads_uv) == uv_islands(quads_uv)[_TONGUE_FACE]] = PARTS.index("tongue")
    return part


def _side_by_side(kit: Any, quads: Array, quads_uv: Array, part: Array) -> Array:
    """(N,2) the kit's UV, each tile in 0..1; the eyeballs, which share one place there, beside one another: no eye is
    the other's copy."""
    uv = np.mod(kit["uv"].astype(np.float64), 1.0)
    for name in ("sclera", "iris"):
        own = part == PARTS.index(name)
        right = own & (kit["neutral"][quads[:, 0], 0] < 0)
        for rows, shift in ((own & ~right, 0.0), (right, 0.5)):
            used = np.unique(quads_uv[rows])
            used = used[used >= 0]
            uv[used, 0] = uv[used, 0] / 2 + shift
    return uv.astype(np.float32)


def uv_islands(quads_uv: Array) -> Array:
    """(T,) a number for each face, the same for faces that hang together in the UV; quads_uv (T,4)."""
    pairs = np.concatenate([quads_uv[:, [0, k]][quads_uv[:, k] >= 0] for k in (1, 2, 3)])
    count = int(quads_uv.max()) + 1
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1][quads_uv[:, 0]]


def _landmarks(neutral: Array, quads: Array, part: Array, places: dict[str, Array]) -> tuple[Array, Array, Array]:
    triangle = np.zeros((LANDMARKS, 3), np.int64)
    barycentric = np.zeros((LANDMARKS, 3), np.float32)
    trust = np.zeros(LANDMARKS, np.float32)
    found = np.flatnonzero(places["triangle"][:, 0] >= 0)
    triangle[found] = places["triangle"][found]
    barycentric[found] = places["barycentric"][found]
    trust[found] = places["weight"][found]
    barycentric[:, 0][trust == 0] = 1.0
    barycentric[:, 1:][trust == 0] = 0.0
    eyeballs = quads[part == PARTS.index("sclera")]
    for landmark, side in ((_RIGHT_IRIS, -1), (_LEFT_IRIS, 1)):
        own = eyeballs[neutral[eyeballs[:, 0], 0] * side > 0]
        pole = own[own >= 0][neutral[own[own >= 0], 2].argmax()]
        quad = own[(own == pole).any(1)][0]
        corners = quad[quad >= 0]
        triangle[landmark] = np.roll(corners, -int(np.flatnonzero(corners == pole)[0]))[:3]
        barycentric[landmark] = (1.0, 0.0, 0.0)
        trust[landmark] = 1.0
    return triangle, barycentric, trust


def _scalp(neutral: Array, quads: Array, part: Array) -> Array:
    """(P,) 0..1: above a slanted plane from the forehead's rim to the nape, without the ears, with a soft rim."""
    skin = np.isin(vertex_group(quads, part, len(neutral)), [PARTS.index("face"), PARTS.index("back_head")])
    x, y, z = neutral.T
    height = y - (-0.03 + 0.735 * (z + 0.08))
    scalp = np.clip(height / 0.016, 0.0, 1.0) * skin * (np.abs(x) < 0.095)
    ear = (np.abs(x) > 0.072) & (y < 0.046) & (y > -0.04) & (z > -0.03) & (z < 0.035)
    scalp[ear] = 0.0
    return (scalp * scalp * (3.0 - 2.0 * scalp)).astype(np.float32)
