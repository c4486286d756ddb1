# SPDX-License-Identifier: GPL-3.0-or-later
"""From a file to a Face, by the shipped nets and one photograph: the contract, refusals, what storage may change."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.Image import Exif
from skimage import data

from idto3d.errors import UserError
from idto3d.photos import Face, FaceNets, Photo, align, faces, find_face, five_points, read_faces, search
from idto3d.photos.detect import Box
from idto3d.photos.faces import FINE, fineness
from idto3d.photos.landmarks import CHIN, EYE_CORNERS, FOREHEAD, Landmarks, find_landmarks
from idto3d.photos.search import Candidate
from idto3d_shared.photo_names import photo_names
from tests.shipped import astronaut, nets


@cache
def face() -> Face:
    return find(astronaut())


def find(image: np.ndarray) -> Face:
    return find_face(Photo(np.ascontiguousarray(image), "photo.png"), nets())


def codes(found: Face) -> list[str]:
    return [notice.code for notice in found.notices]


def assert_same(found: Face, apart: float) -> None:
    """The face is the astronaut's: landmarks apart by less than a share of the face's height, and the same mask."""
    one, other = face().landmarks / len(face().picture), found.landmarks / len(found.picture)
    height = np.ptp(one[:468, 1])
    assert np.sqrt(((one - other) ** 2).sum(1).mean()) < apart * height
    a, b = (cv2.resize(f.person, (128, 128), interpolation=cv2.INTER_AREA) > 0.5 for f in (face(), found))
    assert (a & b).sum() > 0.97 * (a | b).sum()
    assert max(abs(score - found.blendshapes[name]) for name, score in face().blendshapes.items()) < 0.15


def test_contract() -> None:
    f = face()
    size = len(f.picture)
    assert f.name == "photo.png" and f.notices == () and not f.grey and f.presence > 0.99
    assert f.picture.shape == (size, size, 3) and f.picture.dtype == np.uint8 and 512 <= size <= 1536
    assert f.inside.shape == (size, size) and f.inside.dtype == bool
    assert f.person.shape == (size, size) and f.person.dtype == np.float32
    assert f.landmarks.shape == (478, 2) and f.landmark_depth.shape == (478,)
    assert f.to_picture.shape == (2, 3) and f.crop.shape == (112, 112, 3) and f.crop.dtype == np.uint8
    assert len(f.blendshapes) == 52 and all(0 <= score <= 1 for score in f.blendshapes.values())


def test_picture_is_the_photo_through_to_picture() -> None:
    f, rng = face(), np.random.default_rng(0)
    places = rng.uniform(40, 470, (300, 2))
    pixels = np.round(align.apply(f.to_picture, places)).astype(int)
    seen = (pixels >= 0).all(1) & (pixels < len(f.picture)).all(1)
    back = align.apply(align.invert(f.to_picture), pixels[seen]).astype(np.float32)
    smooth = cv2.GaussianBlur(astronaut(), (0, 0), 2)
    expected = cv2.remap(smooth, back[:, 0], back[:, 1], cv2.INTER_LINEAR).reshape(-1, 3)
    got = cv2.GaussianBlur(f.picture, (0, 0), 2 * len(f.picture) / 337)[pixels[seen, 1], pixels[seen, 0]]
    assert np.abs(got.astype(int) - expected).mean() < 3
    assert f.inside[pixels[seen, 1], pixels[seen, 0]].all()
    assert not f.inside[0, len(f.picture) // 2]  # the photo ends over her head


def test_what_the_astronaut_does() -> None:
    scores = face().blendshapes
    assert min(scores["mouthSmileLeft"], scores["mouthSmileRight"]) > 0.6
    assert max(scores["jawOpen"], scores["eyeBlinkLeft"], scores["eyeBlinkRight"], scores["mouthPucker"]) < 0.3
    assert scores["eyeLookOutLeft"] < 0.4


def test_depth_is_smaller_at_the_nose() -> None:
    depth, across = face().landmark_depth, np.ptp(face().landmarks[:468, 0])
    assert depth[4] == pytest.approx(depth[:468].min(), abs=0.1 * across)
    assert 0.2 * across < depth[[234, 454]].mean() - depth[4] < 1.2 * across


def test_mask_holds_head_and_hair_and_no_background() -> None:
    f = face()

    def share(x: float, y: float) -> float:
        j, i = np.round(align.apply(f.to_picture, np.array([x, y]))).astype(int)
        return float(f.person[i, j])

    # Forehead, fringe, hair over the head and beside it, neck, suit; then wall, flag and shuttle.
    for place in [(224, 85), (225, 72), (225, 30), (160, 90), (222, 185), (110, 265)]:
        assert share(*place) > 0.9, place
    for place in [(120, 60), (330, 60), (60, 200), (380, 160)]:
        assert share(*place) < 0.1, place


def test_five_points_are_near_the_template() -> None:
    points = five_points(face().landmarks)
    fitted = align.apply(align.arcface_transform(points), points)
    assert np.sqrt(((fitted - align.ARCFACE_TEMPLATE) ** 2).sum(1).mean()) < 5.5  # she smiles
    expected = align.arcface_crop(astronaut(), align.apply(align.invert(face().to_picture), points))
    np.testing.assert_array_equal(face().crop, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_changes_nothing(orientation: int, tmp_path: Path) -> None:
    t = Image.Transpose
    stored_by = {2: t.FLIP_LEFT_RIGHT, 3: t.ROTATE_180, 4: t.FLIP_TOP_BOTTOM, 5: t.TRANSPOSE, 6: t.ROTATE_90,
                 7: t.TRANSVERSE, 8: t.ROTATE_270}  # fmt: skip
    image, exif = Image.fromarray(astronaut()), Exif()
    exif[0x0112] = orientation
    stored = image.transpose(stored_by[orientation]) if orientation in stored_by else image
    stored.save(tmp_path / "photo.png", exif=exif)
    ((found,), notices) = read_faces([tmp_path / "photo.png"], nets())
    assert notices == []
    np.testing.assert_array_equal(found.picture, face().picture)
    np.testing.assert_array_equal(found.landmarks, face().landmarks)


@pytest.mark.parametrize("suffix", ["jpg", "webp", "avif", "jp2", "tif"])
def test_formats_change_little(suffix: str, tmp_path: Path) -> None:
    Image.fromarray(astronaut()).save(tmp_path / f"photo.{suffix}", quality=85)
    ((found,), _) = read_faces([tmp_path / f"photo.{suffix}"], nets())
    assert_same(found, 0.004)


@pytest.mark.parametrize("scale", [0.5, 2.0, 5.0])
def test_sizes_change_little(scale: float) -> None:
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    found = find(np.asarray(cv2.resize(astronaut(), None, fx=scale, fy=scale, interpolation=how), np.uint8))
    assert_same(found, 0.006)
    assert len(found.picture) == (1536 if scale == 5 else pytest.approx(len(face().picture), rel=0.7))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_photo_on_its_side_gives_the_same_picture(quarters: int) -> None:
    found = find(np.rot90(astronaut(), quarters))
    assert_same(found, 0.004)
    assert np.abs(found.picture.astype(int) - face().picture).mean() < 3


def test_a_crop_changes_little() -> None:
    found = find(astronaut()[4:, 30:-60])
    assert_same(found, 0.004)


def test_a_close_up_is_all_person() -> None:
    found = find(astronaut()[75:175, 185:265])
    height = np.ptp(found.landmarks[:468, 1])
    hull = cv2.convexHull(np.round(found.landmarks[:468]).astype(np.int32))
    within = cv2.fillConvexPoly(np.zeros(found.inside.shape, np.uint8), hull, 1) > 0
    assert height > 0.25 * len(found.picture) and found.person[within & found.inside].mean() > 0.9


def test_grey_photo() -> None:
    assert find(np.dstack([cv2.cvtColor(astronaut(), cv2.COLOR_RGB2GRAY)] * 3)).grey


def test_several_faces_the_largest_is_used_and_the_other_is_not_in_its_mask() -> None:
    scene = np.dstack([np.full((400, 900), n, np.uint8) for n in (190, 200, 205)])
    other = np.asarray(cv2.resize(astronaut()[:256, 140:310], None, fx=0.8, fy=0.8), np.uint8)
    scene[100:305, 525:661] = other
    scene[60:316, 355:525] = astronaut()[:256, 140:310]
    found = find(scene)
    assert codes(found) == ["W_SEVERAL_FACES"] and "2 faces" in found.notices[0].message
    middle = align.apply(align.invert(found.to_picture), found.landmarks.mean(0))
    assert 355 < middle[0] < 525
    j, i = np.round(align.apply(found.to_picture, np.array([525 + 0.8 * 84, 100 + 0.8 * 120]))).astype(int)
    assert found.person[i, j] < 0.1


def refusal(image: np.ndarray) -> str:
    with pytest.raises(UserError) as info:
        find(image)
    assert "photo.png" in info.value.message and info.value.fix
    return info.value.code


def test_refusals() -> None:
    assert refusal(np.full((300, 400, 3), 100, np.uint8)) == "E_NO_FACE"
    assert refusal(data.chelsea()) == "E_NO_FACE"
    tiny = np.full((200, 200, 3), 190, np.uint8)
    tiny[60:180, 40:160] = cv2.resize(astronaut(), (120, 120), interpolation=cv2.INTER_AREA)
    assert refusal(tiny) == "E_FACE_TOO_SMALL"


def turned(degrees: float, roll: float = 0.0, spread: float = 0.005, presence: float = 0.9) -> Candidate:
    """A candidate of a flat face, 200 pixels high, in the middle of the astronaut's photo: all corners at one depth."""
    across = 75.0 * np.array([np.cos(np.deg2rad(degrees)), 0.0, np.sin(np.deg2rad(degrees))])
    points = np.zeros((478, 3))
    points[EYE_CORNERS[0]], points[EYE_CORNERS[1]] = -across, across
    points[FOREHEAD], points[CHIN] = [0, -100, 0], [0, 100, 0]
    points[:, :2] = align.apply(align.box_transform((0.0, 0.0), 1.0, 1, -roll), points[:, :2]) + 250
    box = Box(np.array([250.0, 250.0]), 150.0, np.zeros((6, 2)), 0.9)
    return Candidate(box, Landmarks(points[:, :2], points[:, 2], presence, spread), 0.0)


@pytest.mark.parametrize("roll", [0.0, 40.0, -120.0])
@pytest.mark.parametrize("degrees", [-60.0, 0.0, 25.0])
def test_yaw_by_hand(degrees: float, roll: float) -> None:
    # The eye at the picture's right is farther away when the face looks there.
    assert turned(degrees, roll).landmarks.yaw == pytest.approx(degrees, abs=0.01)


def test_a_turned_face_is_told_and_refused_only_when_not_to_be_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(candidate: Candidate) -> None:
        monkeypatch.setattr(faces, "search", lambda levels, nets: [candidate])

    found(turned(55.0))
    told = find(astronaut())
    assert codes(told) == ["W_FACE_TURNED"] and "55 degrees" in told.notices[0].message
    found(turned(-70.0, spread=0.1))
    assert refusal(astronaut()) == "E_FACE_TOO_TURNED"
    found(turned(-70.0, presence=0.001))
    assert refusal(astronaut()) == "E_FACE_TOO_TURNED"
    found(turned(10.0, spread=0.1))
    assert refusal(astronaut()) == "E_NO_FACE"


def test_a_bystander_does_not_stand_for_a_person_in_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    bystander, profile = turned(0.0), turned(-70.0, spread=0.1)
    for size, alike in ((1.2, True), (1.8, False)):
        points = 250 + size * (profile.landmarks.points - 250)
        larger = replace(profile, landmarks=replace(profile.landmarks, points=points))
        monkeypatch.setattr(faces, "search", lambda levels, nets, larger=larger: [bystander, larger])
        if alike:
            assert codes(find(astronaut())) == ["W_SEVERAL_FACES"]
        else:
            assert refusal(astronaut()) == "E_FACE_TOO_TURNED"


def test_a_face_that_cannot_be_trusted_is_found_beside_one_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = np.dstack([np.full((400, 900), n, np.uint8) for n in (190, 200, 205)])
    scene[60:316, 555:725] = scene[60:316, 155:325] = astronaut()[:256, 140:310]

    def found(levels: Sequence[np.ndarray], box: Box, given: FaceNets) -> Landmarks:
        landmarks = find_landmarks(levels, box, given)
        return replace(landmarks, spread=0.1) if box.centre[0] < 450 else landmarks

    levels = align.pyramid(scene)
    assert [c.passes for c in search.search(levels, nets())] == [True, True]
    monkeypatch.setattr(search, "find_landmarks", found)
    first, second = search.search(levels, nets())
    assert first.passes and first.box.centre[0] > 450 and not second.passes and second.box.centre[0] < 450


@pytest.mark.parametrize("shape", [(1, 1), (1, 9000), (31, 4000), (4000, 2)])
def test_absurd_sizes(shape: tuple[int, int]) -> None:
    assert refusal(np.zeros((*shape, 3), np.uint8)) == "E_FACE_TOO_SMALL"


def test_small_face_is_told() -> None:
    small = cv2.resize(astronaut(), (256, 256), interpolation=cv2.INTER_AREA)
    assert codes(find(np.asarray(small, np.uint8))) == ["W_FACE_SMALL"]


def test_read_faces_reports_each_photo(tmp_path: Path) -> None:
    Image.fromarray(astronaut()).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"")
    found, notices = read_faces([tmp_path / "bad.png", tmp_path / "good.png"], nets())
    assert [f.name for f in found] == ["good.png"]
    assert [n.code for n in notices] == ["W_PHOTO_SKIPPED"]
    assert "E_PHOTO_UNREADABLE" in notices[0].message and "bad.png" in notices[0].message
    with pytest.raises(UserError, match="E_PHOTO_UNREADABLE"):
        read_faces([tmp_path / "bad.png"], nets())
    with pytest.raises(UserError, match="E_PHOTO_MISSING"):
        read_faces([], nets())
    with pytest.raises(UserError, match="E_PHOTO_COUNT"):
        read_faces([tmp_path / "me.png"] * 33, nets())


def test_photos_of_one_name_are_told_apart(tmp_path: Path) -> None:
    files = [tmp_path / folder / "me.png" for folder in ("one", "two", "three")]
    photos = astronaut(), astronaut()[:, ::-1], moved("mouth")
    for file, image in zip(files, photos, strict=True):
        file.parent.mkdir()
        Image.fromarray(image).save(file)
    found, _ = read_faces(files, nets())
    assert [face.name for face in found] == ["me.png", "me (2).png", "me (3).png"] == photo_names(files)
    assert photo_names(["a/x (2).jpg", "a/x.jpg", "b/x.jpg"]) == ["x (2).jpg", "x.jpg", "x (3).jpg"]


def test_a_face_that_the_edge_cuts_is_told() -> None:
    chin, nose = (align.apply(align.invert(face().to_picture), face().landmarks)[k, 1] for k in (CHIN, 1))
    assert codes(find(astronaut()[: int(chin) + 4])) == []
    assert codes(find(astronaut()[: int(chin) - 4])) == ["W_FACE_CUT"]
    assert codes(find(astronaut()[: int(0.5 * (chin + nose))])) == ["W_FACE_CUT"]


def test_a_copy_of_a_photo_is_left_out(tmp_path: Path) -> None:
    files = [tmp_path / "me.png", tmp_path / "me (1).png"]
    for file in files:
        Image.fromarray(astronaut()).save(file)
    found, notices = read_faces(files, nets())
    assert [f.name for f in found] == ["me.png"] and [n.code for n in notices] == ["W_PHOTO_SKIPPED"]
    assert "E_PHOTO_TWICE" in notices[0].message and "me (1).png" in notices[0].message


def test_of_a_photo_in_several_sizes_and_formats_the_largest_is_used(tmp_path: Path) -> None:
    photo = Image.fromarray(astronaut())
    photo.resize((256, 256), Image.Resampling.LANCZOS).save(tmp_path / "half.jpg", quality=85)
    photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "other.png")
    photo.save(tmp_path / "whole.png")
    photo.save(tmp_path / "again.webp", quality=70)
    found, notices = read_faces([tmp_path / n for n in ("half.jpg", "other.png", "whole.png", "again.webp")], nets())
    assert [f.name for f in found] == ["whole.png", "other.png"]
    twice = [n.message for n in notices if "E_PHOTO_TWICE" in n.message]
    assert "half.jpg is the same photo as whole.png" in twice[0] and "again.webp" in twice[1] and len(notices) == 2


def test_a_cropped_photo_is_no_second_one(tmp_path: Path) -> None:
    low, high = np.percentile(align.apply(align.invert(face().to_picture), face().landmarks), (0, 100), axis=0)
    around = (high - low) * [0.3, 0.4]
    (left, top), (right, bottom) = np.rint(low - around).astype(int), np.rint(high + around).astype(int)
    crop = Image.fromarray(astronaut()[top:bottom, left:right])
    crop.resize((crop.width * 3 // 4, crop.height * 3 // 4), Image.Resampling.LANCZOS).save(tmp_path / "crop.jpg")
    Image.fromarray(astronaut()).save(tmp_path / "whole.png")
    found, notices = read_faces([tmp_path / "crop.jpg", tmp_path / "whole.png"], nets())
    assert [f.name for f in found] == ["whole.png"] and len(notices) == 1
    assert "crop.jpg is the same photo as whole.png" in notices[0].message


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_crop_that_cuts_the_face_is_no_second_photo(share: float, tmp_path: Path) -> None:
    places = align.apply(align.invert(face().to_picture), face().landmarks)
    (left, top), (right, bottom) = places.min(0), places.max(0)
    edge = int(right - share * 0.5 * (right - left))
    whole = astronaut()
    Image.fromarray(whole[max(0, int(top) - 90) : int(bottom) + 60, :edge]).save(tmp_path / "cut.png")
    Image.fromarray(whole).save(tmp_path / "whole.png")
    found, notices = read_faces([tmp_path / "cut.png", tmp_path / "whole.png"], nets())
    assert [f.name for f in found] == ["whole.png"] and "E_PHOTO_TWICE" in notices[0].message


def test_a_small_face_beside_a_large_one_tells_less_of_the_shape() -> None:
    one = face()
    small, tiny = (replace(one, to_picture=one.to_picture * factor) for factor in (one.height / 75, one.height / 30))
    assert fineness([one]) == [1.0] == fineness([tiny])
    assert fineness([one, small, tiny]) == pytest.approx([1.0, 75 / min(FINE, one.height), 30 / min(FINE, one.height)])


def test_of_copies_that_with_colours_and_then_the_finer_face_is_used(tmp_path: Path) -> None:
    photo = Image.fromarray(astronaut())
    low, high = np.percentile(align.apply(align.invert(face().to_picture), face().landmarks), (0, 100), axis=0)
    (left, top), (right, bottom) = np.rint(low - 0.4 * (high - low)), np.rint(high + 0.4 * (high - low))
    photo.crop((int(left), int(top), int(right), int(bottom))).save(tmp_path / "crop.png")
    photo.convert("L").save(tmp_path / "grey.png")
    large = Image.new("RGB", (2 * photo.width, 2 * photo.height), "grey")
    large.paste(photo.resize((photo.width // 2, photo.height // 2), Image.Resampling.LANCZOS), (200, 200))
    large.save(tmp_path / "framed.png")
    for kept, other in (("crop.png", "grey.png"), ("crop.png", "framed.png"), ("framed.png", "grey.png")):
        for order in ((kept, other), (other, kept)):
            found, notices = read_faces([tmp_path / name for name in order], nets())
            assert [f.name for f in found] == [kept], order
            assert "E_PHOTO_TWICE" in notices[0].message


def moved(how: str) -> np.ndarray:
    """The astronaut, another moment: by a hundredth of the face's height the middle of the face, as the head turns, or
    a corner of the mouth has moved."""
    image, points = astronaut(), align.apply(align.invert(face().to_picture), face().landmarks)
    tall = float(np.linalg.norm(points[CHIN] - points[FOREHEAD]))
    mark, reach = {"head": (4, 0.25), "mouth": (61, 0.06)}[how]
    rows, columns = np.mgrid[: len(image), : image.shape[1]].astype(np.float32)
    squared = (columns - points[mark, 0]) ** 2 + (rows - points[mark, 1]) ** 2
    across = columns + 0.01 * tall * np.exp(-squared / (2 * (reach * tall) ** 2))
    return cv2.remap(image, across.astype(np.float32), rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize("how", ["head", "mouth"])
def test_shots_of_one_burst_are_not_one_photo(how: str, tmp_path: Path) -> None:
    Image.fromarray(astronaut()).save(tmp_path / "one.png")
    Image.fromarray(moved(how)).save(tmp_path / "two.png")
    found, notices = read_faces([tmp_path / "one.png", tmp_path / "two.png"], nets())
    assert [f.name for f in found] == ["one.png", "two.png"] and notices == []


def test_photos_that_end_at_the_forehead_are_told_unless_another_goes_on(tmp_path: Path) -> None:
    y = align.apply(align.invert(face().to_picture), face().landmarks)[FOREHEAD, 1]
    whole, cut = tmp_path / "whole.png", tmp_path / "cut.png"
    Image.fromarray(astronaut()).save(whole)
    Image.fromarray(moved("mouth")[int(y) :]).save(cut)  # another moment
    assert [n.code for n in read_faces([cut], nets())[1]] == ["W_HAIR_CUT"]
    assert read_faces([cut, whole], nets())[1] == []
