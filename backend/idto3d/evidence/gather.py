# SPDX-License-Identifier: GPL-3.0-or-later
"""What the photographs show of a head's surface: colours, and for each vertex and texel how well it was seen."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from ..arrays import Array
from ..fit.camera import PhotoCamera
from ..fit.projection import Projected, linear_to_srgb, project_texels, sample, vertex_seen
from ..fit.result import HeadFit
from ..headmodel import HeadModel, Material
from ..mesh.solid_noise import solid_noise
from ..mesh.texels import Texels, make_texels
from ..photos.faces import Face, in_colour
from ..ramps import ramp
from .beards import beard_of, beyond, hairs_of, jaw_of
from .blend import lay_over, smooth_within
from .cavities import darkened, light_in
from .chroma import quiet
from .complexion import detail_of, lips_at, lips_colour, texel_length, unseen_skin
from .crease_mask import crease_mask
from .delight import Shaded, shaded, without_light
from .eyes import lay_photo_on_eyes, measure_eyes, paint_eyes, with_pupils
from .glasses import directions, frame_zones
from .gloss import dulled, gloss_of, shine_of
from .hair_colour import HairColour, hair_on_skin
from .lashes import Lashes, draw_lashes, measure_lashes
from .lids import even_lids
from .occluders import above_collar, beyond_rim, features_of, mirroring, neck_piece, occluders, skin_like, zones_of

EYES_MATERIAL = "eyes"
BELOW_CHIN = 0.015  # metres over which the face becomes the neck
NECK = 0.03  # metres above the chin where the neck is seen beside the jaw
BELIEVED = (0.05, 0.5)  # weights at which a colour begins to be believed, and all is
HAIRS = 0.002  # metres: wavelength of a beard's hairs where none was seen
LARGE = 2048  # texels of a map's side
NECK_TONE = 0.012  # metres: deviation of what is kept of the neck's colours
MIRRORED = 0.85  # factor on the weight of colours lent by the other side


@dataclass(frozen=True, eq=False)
class Evidence:
    """maps: material to (S,S,5) float32: albedo sRGB, roughness, specular, 0..1; seen, seen_best: material to (S,S)
    0..1, of all photographs and of that with the most weight; folds: material to (S,S) log darkness of the expressions'
    folds, which are not in the albedo; vertex_seen (P,); tone (3,): the skin's mean linear albedo; texels: material to
    where its texels lie, emptied once the light is known."""

    maps: Mapping[str, Array]
    seen: Mapping[str, Array]
    seen_best: Mapping[str, Array]
    folds: Mapping[str, Array]
    vertex_seen: Array
    tone: Array
    texels: Mapping[str, Texels]


def material_texels(model: HeadModel, material: Material, size: int) -> Texels:
    """The texels of one material's map."""
    wanted = next(n for n, m in enumerate(model.materials) if m.name == material.name)
    rows = model.material[model.triangle_quad] == wanted
    return make_texels(model.uv, model.triangles_uv[rows], model.triangles[rows], size)


@dataclass(frozen=True, eq=False)
class HairOver:
    """Hair that hides skin. masks: of each photo (S,S) 0..1; colour: of the hair; roots: function of points (N,3) on
    the neutral head to the hair's cover there (N,) 0..1 and the strands' pattern (N,), of standard deviation 1.
    Without roots hair is left out, not painted."""

    masks: Sequence[Array]
    colour: HairColour
    roots: Callable[[Array], tuple[Array, Array]] | None = None


@dataclass(frozen=True, eq=False)
class Photographs:
    """Photographs of a head, whole and with the hair masked out. folds: where each one's expression creases the skin
    (P,) 0..1; weights (K,) of the photographs; tone (3,): of the skin in all of them."""

    model: HeadModel
    faces: Sequence[Face]
    whole: Sequence[Projected]
    photos: Sequence[Projected]
    folds: Sequence[Array]
    weights: Array
    tone: Array


@dataclass(frozen=True, eq=False)
class Layers:
    """Of each photograph its own linear albedo (S,S,3) with how well it was seen (S,S), the same of the mirrored
    places (lent), and the folds of its expression (S,S); plain (S,S) 0..1: the neck, where it has no beard."""

    own: Sequence[tuple[Array, Array]]
    lent: Sequence[tuple[Array, Array]]
    folds: Sequence[Array]
    plain: Array


def gather_evidence(
    model: HeadModel, faces: Sequence[Face], fit: HeadFit, photos: Sequence[Projected], size: int,
    hair: HairOver | None = None,
) -> Evidence:  # fmt: skip
    """De-light the projected photographs and blend them over what the mirrored side shows and over synthetic skin.

    photos: of one tone. size: of the maps with evidence; eyes get half of it, 256 at least.
    """
    whole, bare = photos, list(faces)
    if hair is not None:
        photos = [replace(p, usable=p.usable * (1 - m)) for p, m in zip(photos, hair.masks, strict=True)]
        bare = [replace(f, inside=f.inside & (m < 0.5)) for f, m in zip(faces, hair.masks, strict=True)]
    rest, weights = fit.neutral(model), np.array([photo.weight for photo in fit.photos])
    folds = [crease_mask(model, rest, fit.posed(model, photo) - photo.correction) for photo in fit.photos]
    photographs = Photographs(model, faces, whole, photos, folds, weights, photos[0].tone)
    evident = [m for m in model.materials if m.evidence]
    names = [m.name for m in evident]
    texels = {m.name: material_texels(model, m, size) for m in evident}
    roots = {name: _covered(texels[name].at(rest), hair) for name in names}

    def layers_of(name: str) -> Layers:
        return _layers(photographs, texels[name], hair, roots[name][0])

    # A thread a map: NumPy and OpenCV release the interpreter's lock. The largest one by one, or they need gigabytes.
    with ThreadPoolExecutor(1 if size >= LARGE else None) as pool:
        layers = dict(zip(names, pool.map(layers_of, names), strict=True))
        shine = float(np.median([shine_of(model, photo) for photo in photos]))
        on_skin = _OnSkin(_detail(photographs, texels, layers), measure_lashes(faces, whole, weights), shine)

        def paint(material: Material) -> Array:
            name = material.name
            under = _under(photographs, texels[name], layers[name], on_skin.detail)
            if hair is not None:
                cover, strands = roots[name]
                strand = hair.colour.tone * hair.colour.strands(strands)
                under = (under + cover[:, None] * (strand - under)).astype(np.float32)
            return _paint(photographs, material, texels[name], layers[name], under, on_skin)

        maps = dict(zip(names, pool.map(paint, evident), strict=True))
    seen = {name: np.max([w for _, w in layers[name].own], 0) for name in names}
    seen_best = {name: layers[name].own[int(np.argmax(weights))][1] for name in names}
    folded = {name: np.max(layers[name].folds, 0) for name in names}
    for material in model.materials:
        if material.name == EYES_MATERIAL:
            at = texels[material.name] = material_texels(model, material, max(256, size // 2))
            maps[material.name] = _eyes(replace(photographs, faces=bare), [p.camera for p in fit.photos], material, at)
    all_seen = np.max([vertex_seen(model, photo) for photo in photos], 0)
    return Evidence(maps, seen, seen_best, folded, all_seen, photographs.tone, texels)


@dataclass(frozen=True, eq=False)
class _OnSkin:
    """What all maps of the skin have in common: its detail, see `complexion.detail_of`, lashes, and how it shines."""

    detail: Array
    lashes: Lashes
    shine: float


def _under(views: Photographs, at: Texels, layers: Layers, detail: Array) -> Array:
    """(N,3) the synthetic skin of a map, with lips and a beard that go on from where they were seen."""
    lips = lips_at(views.model, at)
    coloured = lips, lips_colour(in_colour(views.faces, layers.own), at.image(lips), views.tone)
    return _with_beard(views, at, layers.own, unseen_skin(views.model, at, views.tone, detail, coloured))


def _paint(views: Photographs, material: Material, at: Texels, layers: Layers, under: Array, on_skin: _OnSkin) -> Array:
    """(S,S,5) of a material of skin; under (N,3): what no photograph shows of it."""
    model, lips, light = views.model, lips_at(views.model, at), light_in(views.model, at)
    shown = np.max([w for _, w in (*layers.own, *layers.lent)], 0)
    synthetic = at.spread(under)
    layers = _without_lines(layers, synthetic, NECK_TONE / texel_length(model, at))
    albedo = even_lids(model, at, _joined(layers, views.weights, synthetic), shown)
    albedo = darkened(draw_lashes(model, at, albedo, on_skin.lashes), at.image(light, fill=1.0))
    gloss = gloss_of(model, at, (material.roughness, material.specular), lips, on_skin.shine)
    gloss = dulled(gloss, at.of_image(albedo), views.tone, lips) * np.stack([np.ones_like(light), light], 1)
    return np.concatenate([at.padded(linear_to_srgb(albedo)), at.spread(gloss)], 2)


def _with_beard(views: Photographs, at: Texels, layers: Sequence[tuple[Array, Array]], under: Array) -> Array:
    """Synthetic skin (N,3) with the beard that goes on there from where it was seen; layers: as `hairs_of`'s."""
    model, tone = views.model, views.tone
    jaw = at.at(jaw_of(model))
    hairs = hairs_of(at, layers, tone, jaw)
    if hairs is None:
        return under
    whole = [project_texels(at, photo, side) for photo in views.whole for side in (None, model.mirror)]
    cover = beyond(at, layers, whole, tone, jaw, texel_length(model, at))[:, None]
    colour, spread = hairs
    beard = colour * np.exp(spread * solid_noise(at.at(model.neutral), HAIRS, 31))[:, None]
    return (under + cover * (beard - under)).astype(np.float32)


def _eyes(views: Photographs, cameras: Sequence[PhotoCamera], material: Material, at: Texels) -> Array:
    """(S,S,5) of the eyes' material."""
    shown = list(zip(views.faces, cameras, views.photos, strict=True))
    look = measure_eyes(in_colour(views.faces, shown))
    painted = at.spread(paint_eyes(views.model, at, look).astype(np.float32))
    albedo = lay_photo_on_eyes(painted, at, views.faces, views.whole, views.weights, look.sclera)
    albedo = with_pupils(albedo, views.model, at, look.radius)
    plain = np.broadcast_to(np.array([material.roughness, material.specular], np.float32), (*albedo.shape[:2], 2))
    return np.concatenate([at.padded(linear_to_srgb(albedo)), plain], 2)


def _covered(points: Array, hair: HairOver | None) -> tuple[Array, Array]:
    """(N,) 0..1 how far hair covers skin at points (N,3) of the neutral head, and its strands (N,)."""
    if hair is None or hair.roots is None:
        return np.zeros(len(points), np.float32), np.zeros(len(points), np.float32)
    return hair.roots(points)


@dataclass(frozen=True, eq=False)
class _Places:
    """What a map's texels are of the head, (N,) 0..1 where nothing else is said. bare: no hair grows there; inner: of
    mouth and eyes; jaw (N,6): see `beards.jaw_of`; strands: a fringe may lie there; neck (N,3): see `above_collar`;
    eyes (S,S,4): as `glasses.frames` wants it."""

    bare: Array
    inner: Array
    jaw: Array
    strands: Array
    neck: Array
    eyes: Array


@dataclass(frozen=True, eq=False)
class _Side:
    """One photograph's colours, seen with weight (S,S), at a map's places or at the mirrored ones; crease (S,S): how
    strongly its expression folds the skin; facing (S,S): cosine to the camera; beard (S,S) 0..1."""

    shaded: Shaded
    seen: Array
    crease: Array
    facing: Array
    beard: Array


def _places(model: HeadModel, at: Texels) -> _Places:
    fields = np.c_[1 - np.maximum(model.scalp, 0), _socket(model), jaw_of(model), zones_of(model), frame_zones(model)]
    places = at.at(fields)
    inner = places[:, 1]
    around = np.c_[places[:, 12:] * (1 - inner)[:, None], directions(model, at.at(model.neutral)).astype(np.float32)]
    return _Places(places[:, 0], inner, places[:, 2:8], places[:, 8], places[:, 9:12], at.image(around))


def _side(views: Photographs, at: Texels, places: _Places, k: int, mirror: Array | None) -> _Side:
    """Photograph k; mirror (P,): the vertex on the other side, or None."""
    photo, tone = views.photos[k], views.tone
    colour, weight = project_texels(at, photo, mirror)
    placed = np.c_[photo.pixel, views.folds[k], photo.facing]
    pixel = at.at(placed) if mirror is None else at.at_mirrored(placed, mirror)
    oval, lips, brows = sample(features_of(views.faces[k]), pixel[:, :2]).T
    beard = beard_of(at, colour, tone, weight * oval, places.jaw)
    like = np.maximum(skin_like(colour, tone), beard)
    free = np.maximum(oval, 1 - places.bare)
    bare_neck = above_collar(like, weight * (1 - oval), places.neck)
    weight = weight * (free + (1 - free) * like * like) * (1 - places.inner) * bare_neck
    image, seen = at.image(colour), at.image(weight)
    zones = at.image(np.c_[places.strands, brows, beard])
    seen = seen * neck_piece(image, seen, at.image((places.neck[:, 0] > -NECK) * (1 - oval)))
    seen = seen * (1 - occluders(image, seen, tone, zones, places.eyes))
    skin = shaded(image, seen, tone, at.image(lips), zones[..., 2])
    return _Side(skin, seen, at.image(pixel[:, 2]), at.image(pixel[:, 3]), zones[..., 2])


def _layers(views: Photographs, at: Texels, hair: HairOver | None, cover: Array) -> Layers:
    """De-lit layers of one map; cover (N,) 0..1: how far hair covers the texels' skin."""
    model, tone = views.model, views.tone
    places = _places(model, at)
    below, texel = at.image(np.clip(places.neck[:, 0] / BELOW_CHIN, 0, 1)), texel_length(model, at)
    all_own, all_lent, all_folds = [], [], []
    beard = np.zeros_like(below)
    for k in range(len(views.photos)):
        own, lent = (_side(views, at, places, k, mirror) for mirror in (None, model.mirror))
        own_seen, lent_seen = (side.seen * (1 - mirroring(side.shaded, side.facing)) for side in (own, lent))
        own_seen = own_seen * (1 - beyond_rim(own.shaded, lent.shaded, lent.seen, own.facing))
        own_skin, own_folds = without_light(own.shaded, lent.shaded, tone, own.crease, below)
        lent_skin, lent_folds = without_light(lent.shaded, own.shaded, tone, lent.crease, below)
        skins = [(quiet(own_skin, own_seen, texel), own_seen), (quiet(lent_skin, lent_seen, texel), lent_seen)]
        all_folds.append(own_seen * own_folds + (1 - own_seen) * lent_seen * lent_folds)
        if hair is not None and hair.roots is not None and k in hair.colour.photos:
            for side, mirror in enumerate((None, model.mirror)):
                colour, weight = hair_on_skin(at, views.whole[k], hair.colour.pictures[k], hair.masks[k], mirror)
                skins[side] = _with_hair(skins[side], at.image(colour), at.image(weight * cover))
        all_own.append(skins[0])
        all_lent.append(skins[1])
        beard = np.maximum.reduce([beard, own.beard * own.seen, lent.beard * lent.seen])
    return Layers(all_own, all_lent, all_folds, below * (1 - beard))


def _without_lines(layers: Layers, under: Array, sigma: float) -> Layers:
    """Layers that have the tone of the neck, and its details from the synthetic skin (S,S,3): the lines that a neck
    shows are those of collars, chains and shadows. sigma: texels."""

    def plain(layer: tuple[Array, Array]) -> tuple[Array, Array]:
        colour, weight = layer
        shown = weight * layers.plain
        if shown.max() < BELIEVED[0]:
            return layer
        away, _ = smooth_within(np.log(np.maximum(colour, 1e-4) / np.maximum(under, 1e-4)), shown, sigma)
        return colour + layers.plain[..., None] * (under * np.exp(away) - colour), weight

    return replace(layers, own=[plain(layer) for layer in layers.own], lent=[plain(layer) for layer in layers.lent])


def _with_hair(skin: tuple[Array, Array], colour: Array, weight: Array) -> tuple[Array, Array]:
    """A layer of skin blended with one of hair, by their weights (S,S)."""
    total = skin[1] + weight
    share = weight / np.maximum(total, 1e-6)
    return skin[0] + share[..., None] * (colour - skin[0]), np.minimum(total, 1.0)


def _detail(views: Photographs, texels: Mapping[str, Texels], layers: Mapping[str, Layers]) -> Array:
    """The seen skin's `complexion.detail_of`, of the map and photograph that show most of it, best."""
    weights = views.weights
    shown = [(float(w.sum() * weights[k]), name, k) for name, own in layers.items() for k, (_, w) in enumerate(own.own)]
    _, name, k = max(shown)
    return detail_of(*layers[name].own[k], texel_length(views.model, texels[name]))


def _joined(layers: Layers, weights: Array, picture: Array) -> Array:
    """Linear albedo (S,S,3): the layers over the synthetic skin (S,S,3); weights (K,) of the photos."""
    order = np.argsort(weights)
    for k in order:
        colour, weight = layers.lent[k]
        picture = lay_over(picture, colour, MIRRORED * ramp(weight, *BELIEVED))
    total = np.zeros(picture.shape[:2], np.float32)
    for k in order:
        colour, weight = layers.own[k]
        share = weight * weights[k] / np.maximum(total + weight * weights[k], 1e-6)
        believed = ramp(np.maximum(weight, total), *BELIEVED)
        picture = lay_over(picture, colour, np.where(total > 0.02, share, 1.0) * believed)
        total = np.maximum(total, weight * weights[k])
    return np.clip(picture, 0.0, 1.0)


def _socket(model: HeadModel) -> Array:
    """(P,) 1 where no photograph is projected: inside of mouth and eyes."""
    inner = [name for name in model.part_names if name not in ("face", "back_head")]
    return model.vertices_of(*inner).astype(np.float64)
