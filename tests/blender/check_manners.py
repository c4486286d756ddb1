# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by a Python that has bpy: heads among other things in a file. ``python check_manners.py WORK`` as usual."""

import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

import idto3d_blender
from idto3d_blender.capture import target
from idto3d_blender.head import export, folders, frame, import_head, life_size, material, naming
from idto3d_blender.head.export import readback
from tests.blender import blender_session, check_polls
from tests.blender import synthetic_bundle as synthetic
from tests.blender.blender_session import refused

WORK = Path(sys.argv[-1])


def blocks(obj: Any) -> dict[str, Any]:
    """All that belongs to a head."""
    of_object = [*obj.data.materials, *naming.images(obj), obj.data, obj.data.shape_keys, *obj.users_collection, obj]
    return {f"{type(block).__name__} {block.name}": block for block in of_object}


def check_names() -> None:
    """The same bundle twice: nothing is shared, and every name tells whose it is."""
    heads = []
    for _ in range(2):
        assert bpy.ops.idto3d.import_head(filepath=str(WORK / "anna")) == {"FINISHED"}
        heads.append(bpy.context.object)
    first, second = (blocks(head) for head in heads)
    assert not set(first.values()) & set(second.values()) and len(first) == len(second) == 4 + 8 + 4
    for head, own in zip(heads, (first, second), strict=True):
        assert all(block.name.startswith(head.name) for block in own.values()), list(own)
    files = [image.filepath for head in heads for image in naming.images(head)]
    assert len(set(files)) == 16 and "//anna_001_skin_albedo.png" in files, files
    assert [c.name for c in bpy.context.scene.collection.children] == ["anna", "anna.001"]
    check_rename(heads[1])


def check_rename(head: Any) -> None:
    assert bpy.ops.idto3d.rename_head(name=" ben ") == {"FINISHED"} and head.name == "ben"
    own = blocks(head)
    assert all(block.name == "ben" or block.name.startswith("ben ") for block in own.values()), list(own)
    assert {"ben skin", "ben eyes"} < {material.name for material in head.data.materials}
    assert "//ben_skin_albedo.png" in {image.filepath for image in naming.images(head)}
    # A picture in a file of its own keeps that.
    outside = next(image for image in naming.images(head) if image.name == "ben skin_albedo")
    outside.filepath_raw, outside.file_format = str(WORK / "mine.png"), "PNG"
    outside.save()
    outside.unpack(method="REMOVE")
    # Taken: a number, and nothing of the other one's moves.
    assert bpy.ops.idto3d.rename_head(name="anna") == {"FINISHED"} and head.name == "anna.001"
    assert bpy.data.objects["anna"].data.name == "anna" and bpy.data.images["anna skin_albedo"].users == 1
    assert outside.filepath == str(WORK / "mine.png") and (WORK / "mine.png").is_file()


def check_forms() -> None:
    """Densities and parts of a head share materials: they are renamed together, and all become life-size."""
    for separated in (False, True):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        assert bpy.ops.idto3d.import_head(filepath=str(WORK / "anna")) == {"FINISHED"}
        full = bpy.context.object
        assert bpy.ops.idto3d.change_density(density="HALF") == {"FINISHED"}
        half = bpy.context.object
        assert bpy.ops.idto3d.rename_head(name="thin") == {"FINISHED"}
        assert (full.name, half.name, half.data.name) == ("thin", "thin half", "thin half")
        assert all(one.name.startswith("thin") and "half" not in one.name for one in blocks(full).values())
        assert half.data.materials[0].name == "thin half skin"
        if separated:
            assert bpy.ops.idto3d.separate_parts() == {"FINISHED"}
        deep = [(own, depth_of(own)) for own in bpy.data.materials]
        # As if from a file of another unit.
        bpy.context.scene.unit_settings.scale_length = 0.01
        assert bpy.ops.idto3d.life_size() == {"FINISHED"}
        assert len(deep) == (6 if separated else 5)
        assert all(abs(depth_of(own) - 100 * depth) < 1e-4 for own, depth in deep), [own.name for own, _ in deep]
        tall = [obj.scale.z for obj in bpy.context.scene.objects if obj.visible_get()]
        assert np.allclose(tall, 100), tall


def depth_of(own: Any) -> float:
    """How far light goes into a material."""
    return float(material.principled(own.node_tree).inputs["Subsurface Scale"].default_value)


def check_copy() -> None:
    """A copy by Blender's own Duplicate follows the sliders of the head that it was copied from, which is told; then
    its own. That one follows its own as before, also when it was copied and is gone."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert bpy.ops.idto3d.import_head(filepath=str(WORK / "anna")) == {"FINISHED"}
    first = bpy.context.object
    assert "idto3d.own_materials" not in check_polls.draw_all_panels()
    copies = []
    for _ in range(2):
        blender_session.select(first)
        assert bpy.ops.object.duplicate() == {"FINISHED"}
        copies.append(bpy.context.object)
    other, later = copies
    for head in (first, other, later):
        head.data.shape_keys.key_blocks["mouth_stretch"].value = 1.0 if head == other else 0.0
    blender_session.select(other)
    assert "idto3d.own_materials" in check_polls.draw_all_panels()
    assert bpy.ops.idto3d.own_materials() == {"FINISHED"}
    assert "idto3d.own_materials" not in check_polls.draw_all_panels()
    assert (shown(first), shown(other)) == (0.0, 1.0), (shown(first), shown(other))
    assert other.data.materials[0].name == f"{other.name} skin" and other.data.materials[1] == first.data.materials[1]
    bpy.data.batch_remove([first.data, first])
    blender_session.select(later)
    later.data.shape_keys.key_blocks["mouth_stretch"].value = 0.5
    assert bpy.ops.idto3d.own_materials() == {"FINISHED"}
    assert (shown(later), shown(other)) == (0.5, 1.0), [(shown(later), shown(other)) for _ in range(3)]
    refused(bpy.ops.idto3d.own_materials, "its own sliders")


def shown(head: Any) -> float:
    """How much of its own colours an expression fades into a head's skin."""
    tree = head.data.materials[0].node_tree
    path = tree.animation_data.drivers[0].data_path
    bpy.context.view_layer.update()
    seen = head.data.materials[0].evaluated_get(bpy.context.evaluated_depsgraph_get())
    return round(float(seen.node_tree.path_resolve(path)), 5)


def check_unit() -> None:
    """In a scene of centimetres a head is as large as a head, and light goes as far into it; one beside another. What
    is made for it is as large; cameras see as far as Blender's own at least."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.unit_settings.scale_length = 0.01
    for system, metre, apart in (("METRIC", 100.0, 34.0), ("NONE", 1.0, 0.34)):
        bpy.context.scene.unit_settings.system = system
        for obj in list(bpy.context.scene.objects):
            bpy.data.objects.remove(obj)
        heads = []
        for _ in range(2):
            assert bpy.ops.idto3d.import_head(filepath=str(WORK / "anna"), add_stage=True) == {"FINISHED"}
            heads.append(bpy.context.object)
        seen = bpy.context.scene.camera.data
        assert seen.clip_start < 0.01 * metre and seen.clip_end >= max(1000.0, 20.0 * metre)
        assert abs(target.empty_of(bpy.context, heads[1]).empty_display_size - 0.1 * metre) < 1e-5
        assert np.allclose(heads[0].scale, metre) and abs(heads[1].location.x - apart) < 1e-4
        principled = material.principled(heads[0].data.materials[0].node_tree)
        assert abs(principled.inputs["Subsurface Scale"].default_value - 0.004 * metre) < 1e-6


def check_append() -> None:
    """Appended from another file, beside a head of the same name."""
    file = WORK / "other.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert bpy.ops.idto3d.import_head(filepath=str(WORK / "anna")) == {"FINISHED"}
    here = bpy.context.object
    before = set(blocks(here).values())
    with bpy.data.libraries.load(str(file)) as (there, wanted):
        wanted.objects = ["anna"]
    (appended,) = wanted.objects
    bpy.context.scene.collection.objects.link(appended)
    assert import_head.is_head(appended) and set(blocks(here).values()) == before
    appended.name = "carla"
    naming.name_after(appended)
    assert all(b.name.startswith("carla") or b == bpy.context.scene.collection for b in blocks(appended).values())
    drivers = appended.data.materials[0].node_tree.animation_data.drivers
    assert drivers[0].driver.variables[0].targets[0].id == appended.data.shape_keys


def height_of(obj: Any) -> float:
    """In units of the scene."""
    bpy.context.view_layer.update()
    return float(obj.dimensions.z)


def check_other_unit() -> None:
    """Appended, with its rig and without, into a scene of centimetres and back: it is told how tall the head is, which
    can be made as large as it was; light goes as far into it, and it is exported as large."""
    file = WORK / "metres.blend"
    bpy.ops.wm.read_factory_settings(use_empty=True)
    for rigged in (False, True):
        assert bpy.ops.idto3d.import_head(filepath=str(WORK / "anna")) == {"FINISHED"}
        if rigged:
            assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
    tall = height_of(bpy.context.object)
    refused(bpy.ops.idto3d.life_size, "as large as a head")
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    for name in ("anna", "anna.001"):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.context.scene.unit_settings.scale_length = 0.01
        assert bpy.ops.wm.append(directory=f"{file}/Object/", filename=name) == {"FINISHED"}
        head = next(obj for obj in bpy.context.scene.objects if import_head.is_head(obj))
        bpy.context.view_layer.objects.active = head
        assert abs(height_of(head) - tall) < 1e-4 and life_size.told(bpy.context.scene, head) == "2.6 mm"
        assert "idto3d.life_size" in check_polls.draw_all_panels()
        assert bpy.ops.idto3d.life_size() == {"FINISHED"}
        assert abs(height_of(head) - 100 * tall) < 1e-3 and "idto3d.life_size" not in check_polls.draw_all_panels()
        depth = material.principled(head.data.materials[0].node_tree).inputs["Subsurface Scale"].default_value
        assert abs(depth - 0.4) < 1e-6
        choice = export.Choice(export.BY_NAME["THREE"], rig=True)
        written = export.export(bpy.context, head, WORK / "from centimetres", choice)
        bpy.context.scene.unit_settings.scale_length = 1.0
        assert abs(life_size.factor(bpy.context.scene, head) - 0.01) < 1e-6
        assert life_size.told(bpy.context.scene, head) == "26 m"
        assert bpy.ops.idto3d.life_size() == {"FINISHED"} and abs(height_of(head) - tall) < 1e-4
        bpy.ops.wm.read_factory_settings(use_empty=True)
        low, high = readback.read(written, choice.preset).bounds
        assert abs(high[2] - low[2] - tall) < 1e-4


def check_other_unit_of_copies() -> None:
    """Blender's copies share materials: each is made life-size, and light goes no deeper for it; also in materials of
    an earlier release, which do not say what they count in."""
    for linked in (False, True):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        assert bpy.ops.idto3d.import_head(filepath=str(WORK / "anna")) == {"FINISHED"}
        assert bpy.ops.object.duplicate(linked=linked) == {"FINISHED"}
        copy, heads = bpy.context.object, list(bpy.context.scene.objects)
        if linked:
            for own in copy.data.materials:
                del own["idto3d_metre"]
        bpy.context.scene.unit_settings.scale_length = 0.01
        for head in heads:
            blender_session.select(head)
            assert bpy.ops.idto3d.life_size() == {"FINISHED"} and abs(head.scale.z - 100) < 1e-4
        assert len(heads) == 2 and abs(depth_of(copy.data.materials[0]) - 0.4) < 1e-6, depth_of(copy.data.materials[0])


def check_elsewhere() -> None:
    """Linked, and appended, from a file in another folder: a head knows its bundle; a linked one can be lit."""
    file = WORK / "elsewhere" / "shot.blend"
    file.parent.mkdir()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert bpy.ops.idto3d.import_head(filepath=str(WORK / "anna")) == {"FINISHED"}
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    (WORK / "another").mkdir()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(WORK / "another" / "mine.blend"))
    for link in (True, False):
        given = {"filepath": f"{file}/Collection/anna", "directory": f"{file}/Collection/", "filename": "anna"}
        if link:
            assert bpy.ops.wm.link(**given, instance_collections=False) == {"FINISHED"}
        else:
            assert bpy.ops.wm.append(**given) == {"FINISHED"}
        head = next(obj for obj in bpy.context.scene.objects if import_head.is_head(obj) and bool(obj.library) == link)
        if link or bpy.app.version >= (4, 3):
            assert Path(folders.folder_of(head)).resolve() == (WORK / "anna").resolve(), folders.folder_of(head)
        bpy.context.view_layer.objects.active = head
        head.select_set(True)
        check_polls.draw_all_panels()
        if link:
            refused(bpy.ops.idto3d.add_rig, "linked from another file")
            assert bpy.ops.idto3d.light_rig(rig="FRONT") == {"FINISHED"}
            assert bpy.ops.idto3d.turntable() == {"FINISHED"} and bpy.ops.idto3d.remove_turntable() == {"FINISHED"}
            choice = export.Choice(export.BY_NAME["THREE"])
            written = import_head.run_to_end(export.steps(bpy.context, head, WORK / "linked", choice, aside=True))
            assert written.is_file()
            bpy.data.libraries.remove(bpy.data.libraries[0])


def check_override() -> None:
    """A library override of a rigged head takes poses, which are there when the file is opened again; what
    Blender would forget of it is refused."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert bpy.ops.idto3d.import_head(filepath=str(WORK / "anna")) == {"FINISHED"}
    assert bpy.ops.idto3d.add_rig() == {"FINISHED"}
    file, shot = WORK / "rigged.blend", WORK / "shot.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert bpy.ops.wm.link(directory=f"{file}/Collection/", filename="anna") == {"FINISHED"}
    blender_session.select(bpy.context.scene.objects[0])
    assert bpy.ops.object.make_override_library() == {"FINISHED"}
    head = next(obj for obj in bpy.context.scene.objects if import_head.is_head(obj))
    assert head.override_library is not None and head.data.library is None
    assert naming.collection_of(head) == bpy.context.scene.collection
    blender_session.select(head)
    check_polls.draw_all_panels()
    for name in ("remove_rig", "rename_head", "cut_neck", "mark_asset", "mirror_keys", "match", "test_animation"):
        refused(getattr(bpy.ops.idto3d, name), "override of a linked one")
    for name in ("change_density", "separate_parts", "multires_base"):
        refused(getattr(bpy.ops.idto3d, name), "override of a linked one")
    # Nothing can be put into its collection.
    layer = bpy.context.view_layer
    layer.active_layer_collection = layer.layer_collection.children[0]
    refused(lambda: bpy.ops.idto3d.import_head(filepath=str(WORK / "anna")), "cannot take new objects")
    layer.active_layer_collection = layer.layer_collection
    assert bpy.ops.idto3d.import_head(filepath=str(WORK / "anna")) == {"FINISHED"}
    blender_session.select(bpy.context.object, head)
    layer.active_layer_collection = next(one for one in layer.layer_collection.children if one.name == "anna")
    refused(bpy.ops.idto3d.blend_people, "cannot take new objects")
    bpy.data.meshes.remove(bpy.context.object.data)
    blender_session.select(head)
    assert bpy.ops.idto3d.pose(name="smile") == {"FINISHED"}
    bpy.ops.wm.save_as_mainfile(filepath=str(shot))
    bpy.ops.wm.open_mainfile(filepath=str(shot))
    head = next(obj for obj in bpy.context.scene.objects if import_head.is_head(obj))
    assert head.data.shape_keys.key_blocks["smile"].value == 1.0


def check_place() -> None:
    scene = bpy.context.scene
    scene.cursor.location = (1.0, 2.0, 3.0)
    for place, where in (("ORIGIN", (0, 0, 0)), ("CURSOR", (1, 2, 3)), ("CURSOR", (1, 2, 3)), ("FREE", (1.34, 2, 3))):
        assert bpy.ops.idto3d.import_head(filepath=str(WORK / "anna"), place=place) == {"FINISHED"}
        bpy.context.view_layer.update()
        head = bpy.context.object
        assert (head.location - Vector(where)).length < 1e-5, (place, tuple(head.location))
        # The neck's base stands there, which is the lowest point of this head.
        world = [head.matrix_world @ vertex.co for vertex in head.data.vertices]
        assert abs(min(point.z for point in world) - where[2]) < 1e-5
    assert np.allclose(head.data[frame.ORIGIN], (0, 0, -0.13), atol=1e-6)


def check_cut() -> None:
    """The ellipsoid of 24 columns, 26 cm high, cut 5 cm above its lowest point."""
    truth = synthetic.head()
    place = truth["vertices"] + (0.0, 0.0, 0.13)
    skin = np.zeros(len(place), bool)
    skin[: len(synthetic.ellipsoid()["vertices"])] = True
    kept = (place[:, 2] > 0.05) | ~skin
    for close in (False, True):
        assert bpy.ops.idto3d.import_head(filepath=str(WORK / "anna")) == {"FINISHED"}
        head = bpy.context.object
        assert bpy.ops.idto3d.cut_neck(height=0.05, close=close) == {"FINISHED"}
        mesh, blocks = head.data, head.data.shape_keys.key_blocks
        assert len(mesh.vertices) == kept.sum() + 24 and [key.name for key in blocks[1:]] == list(synthetic.EXPRESSIONS)
        points = np.array([[point.co[:] for point in key.points] for key in blocks])
        assert np.allclose(points[0][: kept.sum()], place[kept], atol=1e-6)
        offsets = points[1:] - points[0]
        assert np.allclose(offsets[:, : kept.sum()], truth["offsets"][:, kept], atol=1e-6), "keys are lost"
        rim = points[0][kept.sum() :]
        assert np.allclose(rim[:, 2], 0.05, atol=1e-6)
        # Mouth stretch pulls the front down there by 3 cm above and below: in between, too.
        front = rim[:, 1] < -0.01
        assert np.allclose(offsets[1, kept.sum() :][front], (0, 0, -0.03), atol=1e-5)
        edges: dict[Any, int] = {}
        for polygon in mesh.polygons:
            for key in polygon.edge_keys:
                edges[key] = edges.get(key, 0) + (polygon.material_index == 0)
        assert sum(count == 1 for count in edges.values()) == (0 if close else 24)
        assert max(len(polygon.vertices) for polygon in mesh.polygons) == (24 if close else 4)
        if close:
            lid = max(mesh.polygons, key=lambda polygon: len(polygon.vertices))
            assert lid.normal.z < -0.999 and not lid.use_smooth
    assert bpy.ops.idto3d.cut_neck(height=-0.2) == {"CANCELLED"}


def main() -> None:
    synthetic.write(WORK / "anna")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    idto3d_blender.register()
    check_names()
    check_append()
    check_elsewhere()
    check_override()
    check_other_unit()
    check_other_unit_of_copies()
    check_unit()
    check_copy()
    check_forms()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    check_place()
    check_cut()
    idto3d_blender.unregister()
    blender_session.leave()


main()
