# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: two heads of known numbers mixed to a third. ``python check_blend.py WORK``."""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import bpy
import numpy as np

import idto3d_blender
from idto3d_blender.head import blend_materials, blend_people, blend_scalp, frame, import_head, naming
from tests.blender import blender_session, check_polls
from tests.blender import synthetic_bundle as synthetic
from tests.blender.blender_session import key_places, refused

WORK = Path(sys.argv[-1])
HAIR = (("anna", 0.02, 5), ("ben", 0.03, 7))  # how far above the crown, and how many triangles
RED, BLUE = (200, 40, 60), (100, 80, 200)
BLACK, GREEN = (10, 10, 10), (20, 200, 20)


def write_people() -> None:
    """anna is the synthetic head; ben is 10 % broader, smiles twice as far, has other colours and more hair."""
    for name, above, count in HAIR:
        folder = synthetic.write(WORK / name)
        with np.load(folder / "head.npz") as stored:
            arrays = dict(stored)
        if name == "ben":
            arrays["vertices"] = (arrays["vertices"] * (1.1, 1.0, 1.0)).astype(np.float32)
            arrays["offsets"] = arrays["offsets"] * np.float32(2.0)
            synthetic.write_png(folder / "maps" / "skin_albedo.png", synthetic._plain(BLUE))
            # A map twice as large, as a head of a finer quality has.
            synthetic.write_png(folder / "maps" / "eyes_albedo.png", np.full((32, 32, 3), 40, np.uint8))
            synthetic.write_png(folder / "maps" / "skin_normal.png", synthetic._plain((255, 128, 128)))
        else:
            synthetic.write_png(folder / "maps" / "skin_albedo.png", synthetic._plain(RED))
        first = len(arrays["vertices"])
        top = arrays["vertices"][:, 2].max() + above
        tuft = np.array([(0.01 * i, 0.01 * j, top) for i in range(count) for j in (0, 1, 2)], np.float32)
        arrays["vertices"] = np.concatenate([arrays["vertices"], tuft])
        arrays["seen"] = np.pad(arrays["seen"], (0, len(tuft)))
        arrays["offsets"] = np.pad(arrays["offsets"], ((0, 0), (0, len(tuft)), (0, 0)))
        faces = np.array([(first + 3 * i, first + 3 * i + 1, first + 3 * i + 2, -1) for i in range(count)], np.int32)
        arrays["faces"] = np.concatenate([arrays["faces"], faces])
        arrays["faces_uv"] = np.concatenate(
            [arrays["faces_uv"], np.tile(np.array([(0, 1, 2, -1)], np.int32), (count, 1))]
        )
        for kind in ("part", "material"):
            arrays[kind] = np.concatenate([arrays[kind], np.full(count, 4, np.int32)])
        np.savez(folder / "head.npz", **arrays)
        header = json.loads((folder / "head.json").read_text())
        header["parts"].append("hair")
        header["materials"].append({**header["materials"][1], "name": "hair"})
        header["materials"][1]["roughness"] = 0.1 if name == "anna" else 0.5
        (folder / "head.json").write_text(json.dumps(header))
        shutil.copy(folder / "maps" / "eyes_albedo.png", folder / "maps" / "hair_albedo.png")


def pixel(obj: Any, role: str) -> np.ndarray:
    image = next(image for image in naming.images(obj) if image.get(naming.ROLE) == role)
    flat = np.empty(4 * image.size[0] * image.size[1], np.float32)
    image.pixels.foreach_get(flat)
    colours = flat.reshape(-1, 4)
    assert np.abs(colours - colours[0]).max() < 1e-6
    return 255 * colours[0]


def check_preview(anna: Any, ben: Any) -> Any:
    for head in (ben, anna):
        head.select_set(True)
        bpy.context.view_layer.objects.active = head
    before = {image: image.name for image in bpy.data.images}
    check_given_up([anna, ben])
    check_painted([anna, ben])
    assert bpy.ops.idto3d.blend_people() == {"FINISHED"}
    made = bpy.context.object
    assert import_head.is_head(made) and made.name == "anna + ben" and made.users_collection[0].name == "anna + ben"
    body = len(synthetic.head()["vertices"])
    a, b = key_places(anna)[:body], key_places(ben)[:body]
    person = made.idto3d_blend.people[1]
    for share in (0.5, 0.25, 1.0, 0.0):
        person.shape = share
        wanted = (1 - share) * a + share * b
        assert np.abs(key_places(made)[:body] - wanted).max() < 1e-6, share
        bpy.context.view_layer.update()
        mesh = made.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
        seen = np.array([vertex.co for vertex in mesh.vertices][:body])
        assert np.abs(seen - wanted).max() < 1e-6, "the viewport shows another shape"
    # A pose stays a pose while the shape changes under it.
    made.data.shape_keys.key_blocks["smile"].value = 1.0
    person.shape = 0.5
    smile = 0.5 * (key_places(anna, "smile")[:body] + key_places(ben, "smile")[:body])
    assert np.abs(key_places(made, "smile")[:body] - smile).max() < 1e-6
    made.data.shape_keys.key_blocks["smile"].value = 0.0
    check_unfinished()
    # Nor does a key that one of them lacks stop it.
    own = made.shape_key_add(name="her own", from_mix=False)
    own.value = 1.0
    person.shape = 0.75
    assert np.abs(key_places(made)[:body] - 0.25 * a - 0.75 * b).max() < 1e-6
    made.shape_key_remove(own)
    person.shape = 0.5
    person.skin = 0.25
    nodes = made.data.materials[0].node_tree.nodes
    mixes = [node for node in nodes if "idto3d_share" in node and node.type == "MIX"]
    assert mixes and all(abs(mix.inputs[0].default_value - 0.25) < 1e-6 for mix in mixes)
    # Solid viewports show the active picture, and know nothing of nodes.
    shown = np.array(nodes.active.image.pixels[:4])
    assert np.abs(255 * shown[:3] - (0.75 * np.array(RED) + 0.25 * np.array(BLUE))).max() <= 1, 255 * shown
    check_hair(made, anna, ben, body)
    assert all(image.name == name for image, name in before.items()), "pictures of others were renamed"
    return made


def check_given_up(heads: list[Any]) -> None:
    """At whatever step: nothing is left of it."""
    kinds = (bpy.data.objects, bpy.data.meshes, bpy.data.materials, bpy.data.images, bpy.data.collections)
    for _ in blend_scalp.learn(heads):  # it is kept
        pass
    before, turns = [set(kind) for kind in kinds], 0
    for _ in blend_people.begin(heads, bpy.context.collection):
        turns += 1
    blend_people.discard(next(obj for obj in bpy.data.objects if obj not in before[0]), heads)
    for last in range(1, turns + 1):
        steps = blend_people.begin(heads, bpy.context.collection)
        for _ in range(last):
            next(steps)
        steps.close()
        assert [set(kind) for kind in kinds] == before, last
    assert turns > 8, "a click holds the window for all pictures"


def check_painted(heads: list[Any]) -> None:
    """What was painted since a mixture before is in the next one's preview."""
    image = next(image for image in naming.images(heads[0]) if image.get(naming.ROLE) == "skin_albedo")
    kept = np.array(image.pixels[:], np.float32)
    image.pixels.foreach_set(np.tile(np.array((0.0, 1.0, 0.0, 1.0), np.float32), len(kept) // 4))
    made = import_head.run_to_end(blend_people.begin(heads, bpy.context.collection))
    shown = made.data.materials[0].node_tree.nodes.active.image.pixels[:3]
    assert np.abs(np.array(shown) - (0, 1, 0)).max() < 0.01, tuple(shown)
    blend_people.discard(made, heads)
    image.pixels.foreach_set(kept)


def check_hair(made: Any, anna: Any, ben: Any, body: int) -> None:
    for choice, count, donor in (("1", 21, ben), ("NONE", 0, None), ("0", 15, anna)):
        made.idto3d_blend.hair = choice
        assert len(made.data.vertices) == body + count, choice
        assert len(made.data.materials) == (4 if donor is None else 5)
        assert np.abs(key_places(made)[:body] - 0.5 * (key_places(anna)[:body] + key_places(ben)[:body])).max() < 1e-6
        if donor is not None:
            # Above the crown the head moves by nothing: the broader half lies at its sides.
            moved = key_places(made)[body:] - key_places(donor)[body:]
            assert np.abs(moved).max() < 0.002
            assert made.data.materials[4] == donor.data.materials[4]


def check_made(made: Any, anna: Any, ben: Any) -> None:
    person = made.idto3d_blend.people[1]
    person.shape, person.skin = 0.25, 0.75
    made.idto3d_blend.hair = "1"
    ben.shape_key_add(name="his own", from_mix=False).value = 0.0
    images = set(bpy.data.images)
    anna.data.shape_keys.key_blocks["smile"].name = "her own"
    before = made.data.shape_keys.key_blocks.keys()
    for far in (0.7, 1.0):
        given_up = blend_people.finish(made, [anna, ben], [0.75, 0.25], [0.25, 0.75], ben)
        while next(given_up) < far:
            pass
        next(given_up)
        assert set(bpy.data.images) != images
        given_up.close()
        assert set(bpy.data.images) == images and len(made.idto3d_blend.people) == 2
        assert made.data.shape_keys.key_blocks.keys() == before
    anna.data.shape_keys.key_blocks["her own"].name = "smile"
    ben[import_head.JOB] = "a job"
    refused(bpy.ops.idto3d.finish_blend, "is not finished")
    del ben[import_head.JOB]
    assert bpy.ops.idto3d.finish_blend() == {"FINISHED"}
    assert not len(made.idto3d_blend.people)
    body = len(synthetic.head()["vertices"])
    for key in ("Basis", *synthetic.EXPRESSIONS):
        wanted = 0.75 * key_places(anna, key)[:body] + 0.25 * key_places(ben, key)[:body]
        assert np.abs(key_places(made, key)[:body] - wanted).max() < 1e-6, key
    assert all(material.node_tree.nodes.active.name == "albedo" for material in made.data.materials)
    assert not [image for image in bpy.data.images if image.size[0] == 256 or not image.users]
    assert "his own" not in made.data.shape_keys.key_blocks
    assert np.abs(pixel(made, "skin_albedo")[:3] - (0.25 * np.array(RED) + 0.75 * np.array(BLUE))).max() <= 1
    assert np.abs(pixel(made, "eyes_albedo")[:3] - (0.25 * np.array(synthetic.EYES) + 0.75 * 40)).max() <= 1
    # Normals (0,0,1) and (1,0,0), mixed by 1 to 3: (3,0,1) / √10.
    normal = 127.5 + 127.5 * np.array((3.0, 0.0, 1.0)) / np.sqrt(10.0)
    assert np.abs(pixel(made, "skin_normal")[:3] - normal).max() <= 1.5
    shader = next(node for node in made.data.materials[1].node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    assert abs(shader.inputs["Roughness"].default_value - 0.4) < 1e-6
    assert not [node for material in made.data.materials for node in material.node_tree.nodes if "idto3d_share" in node]
    own = {*made.data.materials, *naming.images(made), made.data, made.data.shape_keys}
    for other in (anna, ben):
        assert not own & {*other.data.materials, *naming.images(other), other.data, other.data.shape_keys}
    assert all(image.packed_file is not None for image in naming.images(made))
    assert all(block.name.startswith("anna + ben") for block in own), [block.name for block in own]
    drivers = made.data.materials[0].node_tree.animation_data.drivers
    assert [d.driver.variables[0].targets[0].id for d in drivers] == [made.data.shape_keys]
    assert "shape 0.25, skin 0.75" in made["idto3d"]["blend"] and np.allclose(made.data[frame.ORIGIN], (0, 0, -0.13))
    # It is a head like any other: it can be mixed again, and outlives those it was made of.
    refused(bpy.ops.idto3d.finish_blend, "not being mixed")
    for other in (anna, ben):
        bpy.data.objects.remove(other)
    bpy.data.orphans_purge(do_recursive=True)
    assert np.abs(pixel(made, "skin_albedo")[:3] - (0.25 * np.array(RED) + 0.75 * np.array(BLUE))).max() <= 1


def check_unfinished() -> None:
    """Sliders move the mesh of a mixture: nothing else remakes it meanwhile."""
    ops = bpy.ops.idto3d
    for operator in (ops.change_density, ops.add_rig, ops.cut_neck, ops.separate_parts, ops.multires_base):
        refused(operator, "for good first")
    refused(lambda: ops.export(directory=str(WORK), preset="UNITY"), "for good first")


def check_refused(anna: Any, ben: Any) -> None:
    refused(bpy.ops.idto3d.blend_people, "Select two heads")
    other = WORK / "other"
    synthetic.write(other, rows=10)
    assert bpy.ops.idto3d.import_head(filepath=str(other)) == {"FINISHED"}
    stranger = bpy.context.object
    anna.select_set(True)
    refused(bpy.ops.idto3d.blend_people, "another mesh")
    bpy.data.objects.remove(stranger)
    synthetic.write(WORK / "unpacked")
    assert bpy.ops.idto3d.import_head(filepath=str(WORK / "unpacked")) == {"FINISHED"}
    stranger = bpy.context.object
    for image in naming.images(stranger):
        image.unpack(method="REMOVE")
        image.filepath = str(WORK / "nowhere.png")
    objects = len(bpy.data.objects)
    anna.select_set(True)
    refused(bpy.ops.idto3d.blend_people, "Find Missing Files")
    assert len(bpy.data.objects) == objects
    bpy.data.objects.remove(stranger)


def write_haired(name: str, lid: tuple[float, ...], colours: Any) -> Path:
    """The synthetic head with a map of skin (16,16,3), and a square of hair around (x, y, z) that reaches (a, b, c)."""
    folder = synthetic.write(WORK / name)
    synthetic.write_png(folder / "maps" / "skin_albedo.png", colours.astype(np.uint8))
    with np.load(folder / "head.npz") as stored:
        arrays = dict(stored)
    first = len(arrays["vertices"])
    middle, reach = np.array(lid[:3]), np.array(lid[3:])
    across = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    ways = np.flatnonzero(reach)
    corners = np.tile(middle, (4, 1))
    corners[:, ways] += np.array(across) * reach[ways]
    arrays["vertices"] = np.concatenate([arrays["vertices"], corners.astype(np.float32)])
    arrays["seen"] = np.pad(arrays["seen"], (0, 4))
    arrays["offsets"] = np.pad(arrays["offsets"], ((0, 0), (0, 4), (0, 0)))
    arrays["faces"] = np.concatenate([arrays["faces"], np.arange(first, first + 4, dtype=np.int32)[None]])
    arrays["faces_uv"] = np.concatenate([arrays["faces_uv"], np.array([(0, 1, 2, 3)], np.int32)])
    for kind in ("part", "material"):
        arrays[kind] = np.append(arrays[kind], np.int32(4))
    np.savez(folder / "head.npz", **arrays)
    header = json.loads((folder / "head.json").read_text())
    header["parts"].append("hair")
    header["materials"].append({**header["materials"][1], "name": "hair"})
    (folder / "head.json").write_text(json.dumps(header))
    shutil.copy(folder / "maps" / "eyes_albedo.png", folder / "maps" / "hair_albedo.png")
    return folder


def check_scalp() -> None:
    """What is painted under the hair of one goes with that hair, and with no other: Dora's on the crown, Carl's on the
    back of the head. Rows of a map go down from the crown, its columns around from the nose."""
    his, hers = np.tile(RED, (16, 16, 1)), np.tile(BLUE, (16, 16, 1))
    his[7:9, 7:9], hers[:2] = GREEN, BLACK
    lids = ((0.0, 0.11, 0.0, 0.04, 0.0, 0.04), (0.0, 0.0, 0.14, 0.05, 0.05, 0.0))
    heads = []
    for name, lid, colours in zip(("carl", "dora"), lids, (his, hers), strict=True):
        assert bpy.ops.idto3d.import_head(filepath=str(write_haired(name, lid, colours))) == {"FINISHED"}
        heads.append(bpy.context.object)
    carl, dora = heads
    dora.select_set(True)
    carl.select_set(True)
    bpy.context.view_layer.objects.active = carl
    assert bpy.ops.idto3d.blend_people() == {"FINISHED"}
    made = bpy.context.object
    made.idto3d_blend.people[1].skin = 1.0
    # On the nose, the back of the head and the crown: her skin, his hair, and his skin in the colour of hers.
    wanted = {"0": (BLUE, GREEN, BLUE), "1": (BLUE, BLUE, BLACK), "NONE": (BLUE, BLUE, BLACK)}
    for hair, expected in wanted.items():
        made.idto3d_blend.hair = hair
        seen = spots(made.data.materials[0].node_tree.nodes.active.image)
        assert np.abs(seen - expected).max() <= 2, (hair, seen)
        # Nodes know no tone: how much of hers there is.
        node = next(n for n in made.data.materials[0].node_tree.nodes if "idto3d_share_of_places" in n)
        much = spots(node.image)[:, 0] / 255.0
        assert np.abs(much - ((1.0, 0.0, 0.0) if hair == "0" else (1.0, 1.0, 1.0))).max() < 0.02, (hair, much)
    made.idto3d_blend.hair = "0"
    check_saved(made)
    assert bpy.ops.idto3d.finish_blend() == {"FINISHED"}
    picture = next(image for image in naming.images(made) if image.get(naming.ROLE) == "skin_albedo")
    assert np.abs(spots(picture) - wanted["0"]).max() <= 2, spots(picture)
    assert not [image for image in bpy.data.images if image.size[0] in (128, 256)], "pictures of the preview are left"


def check_saved(made: Any) -> None:
    """Its pictures are in the file that is saved while the sliders stand."""
    before = [spots(image) for image in blend_materials.own_pictures(made)]
    bpy.ops.wm.save_as_mainfile(filepath=str(WORK / "mixed.blend"), copy=True)
    with bpy.data.libraries.load(str(WORK / "mixed.blend"), link=True) as (there, here):
        here.objects = [name for name in there.objects if name == made.name]
    after = [spots(image) for image in blend_materials.own_pictures(here.objects[0])]
    assert len(before) > 1 and np.abs(np.subtract(before, after)).max() <= 2, (before, after)
    bpy.data.libraries.remove(here.objects[0].library)


def spots(image: Any) -> np.ndarray:
    """(3,3) 0..255 the colours at the nose, the back of the head and the crown."""
    width, height = image.size
    pixels = 255 * np.array(image.pixels[:]).reshape(height, width, 4)[..., :3]
    return np.array([pixels[height // 2 - 1, 0], pixels[height // 2 - 1, width // 2], pixels[-1, width // 2]])


def check_light(material: Any) -> None:
    """The floor under a roof of hair gets a good part of the sun, and cameras see nothing of that in the roof; which
    shines in its own colour where the sun is behind it."""
    scene = bpy.data.scenes.new("light")
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 16, False
    scene.cycles.max_bounces, scene.render.film_transparent = 0, True
    scene.render.resolution_x = scene.render.resolution_y = 8
    for name, data, height in (
        ("floor", _square(10.0, None), 0.0),
        ("roof", _square(1.0, material), 1.0),
        ("sun", bpy.data.lights.new("sun", "SUN"), 3.0),
        ("eye", bpy.data.cameras.new("eye"), 0.5),
    ):
        obj = bpy.data.objects.new(name, data)
        obj.location.z = height
        scene.collection.objects.link(obj)
    scene.camera = scene.objects["eye"]
    shaded, _ = picture(scene)
    scene.objects["eye"].location.z, scene.objects["floor"].hide_render = 2.0, True
    lit, cover = picture(scene)
    scene.objects["sun"].rotation_euler.x = np.pi
    through, _ = picture(scene)
    scene.objects["sun"].rotation_euler.x = 0
    scene.objects["roof"].hide_render, scene.objects["floor"].hide_render = True, False
    full, _ = picture(scene)
    assert 0.5 < shaded / full < 0.9, (shaded, full)
    assert cover > 0.99, "the roof is seen through"
    assert 0.05 < through / lit < 0.5, (through, lit)
    bpy.data.scenes.remove(scene)


def _square(size: float, material: Any) -> Any:
    mesh = bpy.data.meshes.new("square")
    mesh.from_pydata([(x * size, y * size, 0.0) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))], [], [(0, 1, 2, 3)])
    mesh.uv_layers.new()
    mesh.materials.append(material)
    return mesh


def picture(scene: Any) -> tuple[float, float]:
    """How bright and how opaque it is, over all pixels."""
    file = WORK / "light.exr"
    scene.render.filepath, scene.render.image_settings.file_format = str(file), "OPEN_EXR"
    scene.render.image_settings.color_mode = "RGBA"
    bpy.ops.render.render(scene=scene.name, write_still=True)
    image = bpy.data.images.load(str(file), check_existing=False)
    pixels = np.array(image.pixels[:]).reshape(-1, 4)
    bpy.data.images.remove(image)
    return float(pixels[:, :3].mean()), float(pixels[:, 3].mean())


def main() -> None:
    write_people()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    idto3d_blender.register()
    heads = []
    for name, _, _ in HAIR:
        assert bpy.ops.idto3d.import_head(filepath=str(WORK / name)) == {"FINISHED"}
        heads.append(bpy.context.object)
    anna, ben = heads
    check_refused(anna, ben)
    check_light(next(slot.material for slot in anna.material_slots if slot.material[naming.ROLE] == "hair"))
    made = check_preview(anna, ben)
    check_polls.draw_all_panels()
    begun = time.perf_counter()
    check_made(made, anna, ben)
    check_scalp()
    idto3d_blender.unregister()
    blender_session.leave(seconds=round(time.perf_counter() - begun, 2))


main()
