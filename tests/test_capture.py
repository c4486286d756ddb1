# SPDX-License-Identifier: GPL-3.0-or-later
"""Videos to takes: files that phones make and files that are none; a known animation seen by perfect nets."""

import json
import os
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from idto3d.capture.gaze import gaze_of_shapes, neutral_irises, shapes_of_gaze
from idto3d.capture.motion import FEATURES, FILE, features, load_motion
from idto3d.capture.person import person_of, vertices_of_head
from idto3d.capture.read import _BLINKS, read_track, with_gaze
from idto3d.capture.run import capture
from idto3d.capture.shapes import arkit_of_model, model_of_arkit
from idto3d.capture.solve import Lens, Pose, project
from idto3d.capture.track import Track
from idto3d.capture.video import Video
from idto3d.errors import Cancelled, UserError
from idto3d.finish.head import shipped_faces
from idto3d.headmodel import HeadModel
from idto3d.headmodel.eyeballs import TURN, find_eyeballs, look
from idto3d.pipeline import STARTER_PACK
from idto3d.protocol import BadRequest, Capture, parse_request
from idto3d.training.motion import fit_motion
from idto3d.worker import Worker
from idto3d_shared.live_link import SHAPES

Array = Any
RATE = 30.0


def video(folder: Path, frames: int = 6, size: tuple[int, int] = (96, 64), name: str = "v.mp4") -> Path:
    """Left half bright: what is turned can be told."""
    path = folder / name
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), RATE, size)
    for n in range(frames):
        image = np.full((size[1], size[0], 3), 10 * (n % 6), np.uint8)
        image[:, : size[0] // 2] = 220
        writer.write(image)
    writer.release()
    return path


def times_of(path: Path) -> tuple[list[float], Array]:
    with Video(path) as frames:
        got = list(frames)
    return [frame.time for frame in got], got[0].image


def test_frames_and_their_times(tmp_path: Path) -> None:
    times, image = times_of(video(tmp_path))
    np.testing.assert_allclose(np.diff(times), 1 / RATE, atol=1e-3)
    assert len(times) == 6 and image.shape == (64, 96, 3) and image[:, :40].mean() > 180 > 60 > image[:, 56:].mean()


def test_a_video_is_not_written_over(tmp_path: Path) -> None:
    path = video(tmp_path)
    before = path.read_bytes()
    with pytest.raises(UserError, match="E_OUT_NOT_WRITABLE"):
        capture(path, tmp_path / "." / path.name, STARTER_PACK, None, lambda event: None)
    assert path.read_bytes() == before


def test_a_phones_rotation_is_heard(tmp_path: Path) -> None:
    path = video(tmp_path)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes of times, ids and volumes
    assert struct.unpack_from(">i", data, at)[0] == 0x10000
    struct.pack_into(">9i", data, at, 0, 0x10000, 0, -0x10000, 0, 0, 64 << 16, 0, 0x40000000)  # 90 degrees clockwise
    path.write_bytes(data)
    _, image = times_of(path)
    assert image.shape == (96, 64, 3)
    assert image[:40].mean() > 180 > 60 > image[56:].mean()  # what was left is up


def test_a_variable_frame_rate_is_heard(tmp_path: Path) -> None:
    path = video(tmp_path)
    data = path.read_bytes().replace(b"edts", b"free")  # a list of cuts that would end it after the old time
    start = data.index(b"stts")
    size, count = struct.unpack_from(">I", data, start - 4)[0], struct.unpack_from(">I", data, start + 8)[0]
    assert count == 1
    frames, step = struct.unpack_from(">2I", data, start + 12)
    table = struct.pack(">4I", 2, step, frames - 2, 3 * step)  # two frames at the rate, the others thrice as long
    grown = struct.pack(">I", size + 8) + b"stts" + struct.pack(">2I", 0, 2) + table
    data = data[: start - 4] + grown + data[start - 4 + size :]
    for name in (b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        at = data.rindex(name, 0, start)
        data = data[: at - 4] + struct.pack(">I", struct.unpack_from(">I", data, at - 4)[0] + 8) + data[at:]
    path.write_bytes(data)
    times, _ = times_of(path)
    np.testing.assert_allclose(np.diff(times), np.array([1, 1, 3, 3, 3]) / RATE, atol=2e-3)


class FakeCamera:
    """Films a picture every 20 ms, until it is let go."""

    def __init__(self, number: int) -> None:
        self.number = number

    def isOpened(self) -> bool:
        return self.number == 1

    def get(self, _: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, Array]:
        time.sleep(0.02)
        return True, np.full((64, 96, 3), 90, np.uint8)

    def release(self) -> None:
        self.number = -1


def test_a_camera_films_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idto3d.capture.video.cv2.VideoCapture", FakeCamera)
    with Video("camera:1:1") as frames:
        assert frames.frames == 30 and frames.name == "camera 1"
        times = [frame.time for frame in frames]
    assert 0 < times[0] < 0.5 and times[-1] <= 1.0 and (np.diff(times) > 0.01).all() and len(times) > 5
    with pytest.raises(UserError) as refused:
        Video("camera:0")
    assert refused.value.code == "E_VIDEO_CAMERA"


def sound() -> bytes:
    data = (np.sin(np.arange(8000) / 5) * 9000).astype("<i2").tobytes()
    head = (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    )
    return head + b"data" + struct.pack("<I", len(data)) + data


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    good = video(tmp_path).read_bytes()
    picture = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    files = {
        "a.wav": sound(),
        "b.mp4": good[: len(good) // 3],
        "c.mp4": b"",
        "d.png": picture,
        "e.mov": b"nothing" * 99,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError) as refused:
            times_of(tmp_path / name)
        assert refused.value.code == "E_VIDEO_UNREADABLE", name
    with pytest.raises(UserError) as refused:
        Video(tmp_path / "gone.mp4")
    assert refused.value.code == "E_VIDEO_MISSING"


def test_a_video_without_a_face_is_refused_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = video(tmp_path, size=(128, 128))
    with pytest.raises(UserError) as refused:
        capture(path, tmp_path / "out" / "take.csv", STARTER_PACK, None, lambda event: None, tmp_path / "previews")
    assert refused.value.code == "E_VIDEO_NO_FACE"
    assert not list((tmp_path / "out").iterdir()) and list((tmp_path / "previews").glob("picture-*.png"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"{tmp_path.name} is a folder") as refused:
        capture(path, ".", STARTER_PACK, None, lambda event: None)
    assert refused.value.code == "E_OUT_NOT_WRITABLE"


def test_a_video_that_breaks_off_is_told(tmp_path: Path) -> None:
    path = video(tmp_path, 30, (128, 128), "v.avi")
    for share, wanted in ((1.0, []), (0.7, ["W_VIDEO_CUT"])):
        part = tmp_path / f"{share}.avi"
        part.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        told: list[dict[str, Any]] = []
        with pytest.raises(UserError, match="E_VIDEO_NO_FACE"):
            capture(part, tmp_path / "take.csv", STARTER_PACK, None, told.append)
        assert [event["code"] for event in told if event["type"] == "warning"] == wanted


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all names are text")
def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """OpenCV would end the worker, and with it all jobs that wait."""
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    video(tmp_path).rename(path)
    with pytest.raises(UserError, match="E_VIDEO_UNREADABLE"):
        Video(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes among the files")
def test_only_a_csv_is_written_over(tmp_path: Path) -> None:
    path, picture = video(tmp_path), tmp_path / "a.png"
    picture.write_bytes(b"mine")
    os.mkfifo(tmp_path / "pipe.csv")
    for out in (picture, tmp_path / "pipe.csv"):
        with pytest.raises(UserError, match="E_OUT_NOT_WRITABLE"):
            capture(path, out, STARTER_PACK, None, lambda event: None)
    assert picture.read_bytes() == b"mine"


def test_cancel_ends_it_and_its_thread(tmp_path: Path) -> None:
    def stop(event: dict[str, Any]) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        capture(video(tmp_path, 60), tmp_path / "take.csv", STARTER_PACK, None, stop)
    assert not any(thread.name == "idto3d-video" for thread in threading.enumerate())
    assert not (tmp_path / "take.csv").exists()


def test_names_of_the_model_and_arkits(starter: HeadModel) -> None:
    there = arkit_of_model(starter.expression_names)
    assert [SHAPES[n] for n in np.flatnonzero(~there.any(1))] == ["tongueOut"]
    given = {"mouthSmile_L": 0.5, "browInnerUp_L": 0.2, "browInnerUp_R": 0.4, "mouthLeft": 0.7}
    smile = starter.expression_vector(given)
    got = dict(zip(SHAPES, there @ smile, strict=True))
    assert got["mouthSmileLeft"] == 0.5 and got["mouthSmileRight"] == 0 and got["mouthLeft"] == 0.7
    assert got["browInnerUp"] == pytest.approx(0.3)
    back = dict(zip(starter.expression_names, model_of_arkit(starter.expression_names) @ (there @ smile), strict=True))
    assert back["mouthSmile_L"] == 0.5 and back["browInnerUp_R"] == pytest.approx(0.3) and back["cheekRaiser_L"] == 0


def test_gaze() -> None:
    gaze = np.radians(TURN) * np.array([[0.5, -0.4], [0.4, -0.4]])  # to the person's left and up
    shapes = dict(zip(SHAPES, shapes_of_gaze(gaze), strict=True))
    assert shapes["eyeLookOutLeft"] == pytest.approx(0.5) and shapes["eyeLookInRight"] == pytest.approx(0.4)
    assert shapes["eyeLookUpLeft"] == shapes["eyeLookUpRight"] == pytest.approx(0.4)
    np.testing.assert_allclose(gaze_of_shapes(shapes_of_gaze(gaze)), gaze)


def test_the_person_is_the_bundles(tmp_path: Path, starter: HeadModel) -> None:
    rows = shipped_faces(starter)
    used, faces = np.unique(starter.quads[rows], return_inverse=True)
    faces = faces.reshape(-1, 4) - (used[0] < 0)
    used = used[used >= 0]
    face = (starter.neutral + 0.01)[used].astype(np.float32)
    blender = np.stack([face[:, 0], -face[:, 2], face[:, 1]], 1)
    np.savez(tmp_path / "head.npz", vertices=blender, faces=faces.astype(np.int32))
    got = vertices_of_head(starter, tmp_path)
    np.testing.assert_allclose(got[used], face, atol=1e-6)
    np.savez(tmp_path / "other.npz", vertices=blender[:100], faces=faces[:5].astype(np.int32))
    for file in (tmp_path / "other.npz", tmp_path / "gone.npz"):
        with pytest.raises(UserError) as refused:
            vertices_of_head(starter, file)
        assert refused.value.code == "E_CAPTURE_HEAD"


class SilentNets:
    """Scores nothing: only the landmarks speak."""

    def score_blendshapes(self, points: Array) -> Array:
        return np.zeros(52)


def test_a_known_animation_seen_by_perfect_landmarks(starter: HeadModel) -> None:
    person = person_of(starter, starter.shape(np.random.default_rng(3).normal(0, 0.7, len(starter.identity))))
    lens, to_model = Lens(900.0, np.array([319.5, 239.5])), model_of_arkit(person.names)
    frames = 24
    t = np.linspace(0, 2 * np.pi, frames)
    shapes = np.zeros((frames, len(SHAPES)))
    smile = 0.5 * (1 - np.cos(t))
    for name, values in {
        "jawOpen": 0.6 * np.sin(t) ** 2, "mouthSmileLeft": smile, "mouthSmileRight": smile,
        "browInnerUp": 0.8 * np.sin(t / 2), "eyeBlinkLeft": np.exp(-((t - 3) ** 2) * 4), "jawLeft": 0.5 * np.sin(t / 2),
    }.items():  # fmt: skip
        shapes[:, SHAPES.index(name)] = values
    turns = np.stack([0.5 * np.sin(t), 0.2 * np.cos(t), 0.15 * np.sin(2 * t)], 1)
    points, depth = np.zeros((frames, 478, 2)), np.zeros((frames, 478))
    for n in range(frames):
        # At the picture's side the head is seen from aside, which is no turn of it.
        pose = Pose(Rotation.from_euler("YXZ", turns[n]).as_matrix(), np.array([0.15 * np.cos(t[n]), 0.02, -0.6]))
        at = person.moved(to_model @ shapes[n])
        points[n, person.index] = project(at, person, pose, lens)
        depth[n, person.index] = -((at - person.centre) @ pose.rotation.T)[:, 2] * 1500
        points[n, 468:] = project(neutral_irises(person), person, pose, lens)
    seen = np.ones(frames, bool)
    seen[5:7] = False
    vertices = np.zeros_like(starter.neutral, np.float64)
    vertices[:] = starter.shape(np.random.default_rng(3).normal(0, 0.7, len(starter.identity)))
    track = Track(np.arange(frames) / RATE, points, depth, seen, (640, 480))
    motion = load_motion(STARTER_PACK / FILE)
    take = read_track(starter, SilentNets(), motion, track, vertices, lambda step, steps: None)  # type: ignore[arg-type]
    assert take.tracked.tolist() == seen.tolist()
    # Scores are half of what is read, and these nets score nothing.
    for name in ("jawOpen", "mouthSmileLeft"):
        got, true = take.shapes[seen, SHAPES.index(name)], shapes[seen, SHAPES.index(name)]
        assert np.corrcoef(got, true)[0, 1] > 0.8 and np.polyfit(true, got, 1)[0] > 0.25, name
    off = Rotation.from_euler("YXZ", take.head[seen]) * Rotation.from_euler("YXZ", turns[seen]).inv()
    assert np.degrees(off.magnitude()).mean() < 2.0 and np.degrees(off.magnitude()).max() < 3.0


def test_features_are_millimetres_beside_the_face_at_rest(starter: HeadModel) -> None:
    person, lens = person_of(starter, starter.neutral.astype(float)), Lens(900.0, np.array([319.5, 239.5]))
    pose = Pose(Rotation.from_euler("YXZ", [0.3, -0.1, 0.4]).as_matrix(), np.array([0.05, 0.02, -0.6]))
    points = np.zeros((478, 2))
    points[468:] = project(neutral_irises(person), person, pose, lens)
    moved = person.neutral.copy()
    moved[7] += pose.rotation.T @ [0.002, 0.0, 0.0]  # to the picture's right
    points[person.index] = project(moved, person, pose, lens)
    found = features(person, lens, pose, points, np.full(52, 0.25))
    assert found.shape == (FEATURES,) and (found[956:1008] == 0.25).all()
    beside = found[:956].reshape(478, 2)
    np.testing.assert_allclose(beside[person.index[7]], 2 * pose.rotation[0, :2], atol=1e-9)
    assert np.abs(np.delete(beside, person.index[7], 0)).max() < 1e-9
    np.testing.assert_allclose(found[1008:], pose.angles[:2])


def test_what_nets_understate_is_brought_back_to_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idto3d.training.motion.RIDGE", 20.0)
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(20), 30)
    wanted = np.zeros((600, 52))
    jaw, sneer = SHAPES.index("jawOpen"), SHAPES.index("noseSneerLeft")
    wanted[:, [jaw, sneer]] = rng.uniform(0, 1, (600, 2))
    given = np.zeros((600, FEATURES))
    given[:, 34] = 3 * wanted[:, jaw] + rng.normal(0, 0.6, 600)  # millimetres
    given[:, 40] = 0.1 * wanted[:, sneer] + rng.normal(0, 0.6, 600)
    read = fit_motion(given, wanted, people).shapes(given)
    assert np.polyfit(wanted[:, jaw], read[:, jaw], 1)[0] == pytest.approx(1.0, abs=0.1)
    assert abs(np.polyfit(wanted[:, sneer], read[:, sneer], 1)[0]) < 0.2  # what is not seen stays careful
    assert np.abs(read[:, [jaw, sneer]].mean(0) - wanted[:, [jaw, sneer]].mean(0)).max() < 0.1
    assert not read[:, SHAPES.index("eyeBlinkLeft")].any()


def test_a_gaze_turns_as_the_key_does(starter: HeadModel) -> None:
    """A rig's bones turn by the table's angles; without a rig the key moves the eyeballs."""
    neutral, shapes = starter.neutral.astype(float), np.zeros(52)
    shapes[SHAPES.index("eyeLookOutLeft")] = 1.0
    left, _ = find_eyeballs(starter, neutral)
    before, moved = (
        p[left.vertices] - left.centre for p in (neutral, neutral + look(neutral, (left,), "eyeLookOutLeft"))
    )
    turn = Rotation.align_vectors(moved, before)[0].magnitude()
    assert gaze_of_shapes(shapes)[0, 0] == pytest.approx(turn, abs=1e-6)


def test_while_lids_close_the_gaze_stays() -> None:
    shapes = np.zeros((3, 52))
    shapes[:, SHAPES.index("eyeLookOutLeft")] = shapes[:, SHAPES.index("eyeLookInRight")] = (0.5, 0.9, 0.2)
    shapes[1, [SHAPES.index("eyeBlinkLeft"), SHAPES.index("eyeBlinkRight")]] = 0.8
    got, eyes = with_gaze(shapes)
    np.testing.assert_allclose(got[:, SHAPES.index("eyeLookOutLeft")], [0.5, 0.5, 0.2])
    np.testing.assert_allclose(np.degrees(eyes[:, 0, 0]), TURN * np.array([0.5, 0.5, 0.2]))


class ScriptedMotion:
    """Reads the shapes (T,52) that it was given, one row after the other."""

    def __init__(self, shapes: Array) -> None:
        self._rows = iter(shapes)

    def shapes(self, features: Array) -> Array:
        return next(self._rows)


def test_a_face_found_again_while_lids_close_looks_where_it_did(starter: HeadModel) -> None:
    person, lens = person_of(starter, starter.neutral.astype(float)), Lens(900.0, np.array([319.5, 239.5]))
    points, pose = np.zeros((478, 2)), Pose(np.eye(3), np.array([0.0, 0.0, -0.6]))
    points[person.index] = project(person.neutral, person, pose, lens)
    points[468:] = project(neutral_irises(person), person, pose, lens)
    seen = np.array([True, True, True, True, False, True])
    shapes = np.zeros((5, 52))
    out = SHAPES.index("eyeLookOutLeft")
    shapes[3, [out, SHAPES.index("eyeLookInRight")]] = 0.5
    shapes[4, _BLINKS] = 0.8
    times = np.arange(6) / RATE
    track = Track(times, np.tile(points, (6, 1, 1)), np.zeros((6, 478)), seen, (640, 480))
    scripted: tuple[Any, Any] = SilentNets(), ScriptedMotion(shapes)
    take = read_track(starter, *scripted, track, starter.neutral.astype(float), lambda step, steps: None)
    np.testing.assert_allclose(take.shapes[3:, out], 0.5)


def test_the_request(tmp_path: Path) -> None:
    line = {"type": "capture", "job": "j", "video": "v.mp4", "out": "t.csv"}
    assert parse_request(json.dumps(line).encode()) == Capture("j", "v.mp4", "t.csv")
    for wrong in ({"video": None}, {"out": ""}, {"head": 3}, {"seed": 1}):
        with pytest.raises(BadRequest) as refused:
            parse_request(json.dumps({**line, **wrong}).encode())
        assert refused.value.job == "j"


def test_the_worker_does_it(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []
    worker = Worker(said.append, lambda request, events: Path(str(request.out)))
    worker.take(json.dumps({"type": "capture", "job": "j", "video": "v.mp4", "out": "t.csv"}).encode())
    doing = threading.Thread(target=worker.work)
    doing.start()
    while not any(event["type"] == "done" for event in said):
        time.sleep(0.01)
    worker.close()
    doing.join()
    assert said[-1] == {"type": "done", "take": "t.csv", "job": "j"}
