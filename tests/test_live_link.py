# SPDX-License-Identifier: GPL-3.0-or-later
"""The face's table and its file, with hand-written files as apps of several years write them."""

from pathlib import Path

import numpy as np
import pytest

from idto3d_shared.live_link import ANGLES, SHAPES, TakeError, read_take, take_of, timecode, write_take

HEADER = ",".join(["Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in SHAPES), *ANGLES])


def saved(folder: Path, text: str | bytes, name: str = "take.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def row(code: str, **values: float) -> str:
    cells = [str(values.get(name, 0.0)) for name in (*SHAPES, *ANGLES)]
    return ",".join([code, "61", *cells])


def test_a_file_of_the_app(tmp_path: Path) -> None:
    lines = [HEADER, row("12:00:00:58.500", jawOpen=0.25, HeadYaw=0.5), row("12:00:00:59.500", eyeBlinkRight=1)]
    lines += [row("12:00:01:00.500", LeftEyePitch=-0.1), row("12:00:01:03.500", RightEyeYaw=0.2)]  # two were dropped
    take = read_take(saved(tmp_path, "\ufeff" + "\r\n".join(lines) + "\r\n"))
    np.testing.assert_allclose(take.times, np.array([0, 1, 2, 5]) / 60, atol=1e-9)
    assert take.begin == pytest.approx(12 * 3600 + 58.5 / 60) and take.rate == pytest.approx(60)
    assert take.shapes[0, SHAPES.index("jawOpen")] == 0.25 and take.shapes[1, SHAPES.index("eyeBlinkRight")] == 1
    assert take.shapes.sum() == 1.25 and take.tracked.all() and take.absent == ()
    assert take.head[0].tolist() == [0.5, 0, 0]  # yaw, pitch, roll
    assert take.eyes[2].tolist() == [[0, -0.1, 0], [0, 0, 0]] and take.eyes[3].tolist() == [[0, 0, 0], [0.2, 0, 0]]


def test_other_orders_and_missing_columns(tmp_path: Path) -> None:
    # An old app: no tongue, no angles; another program: small letters, its own column.
    names = [name for name in reversed(SHAPES) if name != "tongueOut"]
    lines = [",".join(["blendshapecount", *names, "mood", "timecode"])]
    lines += [
        ",".join(["51", *("0.5" if name == "jawOpen" else "0" for name in names), "calm", f"00:00:0{n}:00"])
        for n in (1, 2)
    ]
    take = read_take(saved(tmp_path, "\n".join(lines)))
    assert take.absent == ("tongueOut", *ANGLES) and not take.head.any()
    assert take.shapes[:, SHAPES.index("jawOpen")].tolist() == [0.5, 0.5] and take.shapes.sum() == 1
    assert take.times.tolist() == [0, 1]


def test_columns_without_values_are_absent(tmp_path: Path) -> None:
    values = [f"{n / 100}" for n in range(len(SHAPES))]
    blank = ["", *[""] * len(ANGLES)]
    short = [HEADER, *(",".join([f"00:00:0{n}:00", "52", *values]) for n in (1, 2))]
    blanks = [HEADER, *(",".join([f"00:00:0{n}:00", "61", *values[:-1], *blank]) for n in (1, 2))]
    blanks.append("00:00:03:00,0" + "," * 61)
    for lines, absent in ((short, ANGLES), (blanks, ("tongueOut", *ANGLES))):
        take = read_take(saved(tmp_path, "\n".join(lines)))
        assert take.absent == absent and take.tracked[:2].all() and not take.head.any() and not take.eyes.any()
        assert take.shapes[0, : len(values) - 1].tolist() == [float(value) for value in values[:-1]]
    assert take.tracked.tolist() == [True, True, False]


@pytest.mark.parametrize(
    "codes, seconds",
    [
        (["00:00:00:29", "00:00:01:00"], 1 / 30),  # the count ends at 29: 30 frames
        (["00:00:00:23", "00:00:01:00"], 1 / 24),
        (["00:00:00:24", "00:00:01:00"], 1 / 25),
        (["00:00:00;58", "00:00:01;00"], 2 * 1.001 / 60),  # drop-frame, and one was dropped
        (["00:00:59;29", "00:01:00;02"], 1.001 / 30),  # there are no frames 0 and 1 of that minute
        (["0.5000", "0.5333"], 0.0333),  # seconds
        (["01:00:00.500", "01:00:00.533"], 0.033),
        (["01:00:00", "01:00:01"], 1 / 60),  # of the same second there may be many: in their order
        (["00:00:00:00", "00:00:00:24"], 24 / 60),  # too short to tell
        (["23:59:59:59", "00:00:00:00"], 1 / 60),
        (["7", "10"], 3 / 60),
        (["", ""], 1 / 60),
        (["00:00:01:00.250", "00:00:01:59.750"], 59.5 / 60),
    ],
)
def test_times(tmp_path: Path, codes: list[str], seconds: float) -> None:
    take = read_take(saved(tmp_path, "\n".join([HEADER, *map(row, codes)])))
    np.testing.assert_allclose(take.times, [0, seconds], atol=1e-6)


def test_a_clock_that_was_set_moves_nothing(tmp_path: Path) -> None:
    def at(hour: int, frame: int) -> str:
        return f"{hour:02d}:00:{frame // 60:02d}:{frame % 60:02d}"

    back = [at(3 if n < 60 else 2, n) for n in range(120)]
    ahead = [at(23 if n == 50 else 11, n) for n in range(120)]
    late = ["00:00:00:00", *(at(11, n) for n in range(1, 120))]
    for codes in (back, ahead, late):
        take = read_take(saved(tmp_path, "\n".join([HEADER, *map(row, codes)])))
        np.testing.assert_allclose(take.times, np.arange(120) / 60, atol=1e-6)


def test_a_column_with_few_values_loses_no_rows(tmp_path: Path) -> None:
    lines = [HEADER, *(row(f"00:00:00:{n:02d}", jawOpen=n / 100, HeadYaw=n / 100) for n in range(10))]
    cells = [line.split(",") for line in lines]
    for n in range(2, 11):
        cells[n][HEADER.split(",").index("TongueOut")] = ""
        cells[n][HEADER.split(",").index("HeadYaw")] = "" if n % 3 else cells[n][HEADER.split(",").index("HeadYaw")]
    take = read_take(saved(tmp_path, "\n".join(map(",".join, cells))))
    assert take.tracked.all()
    np.testing.assert_allclose(take.shapes[:, SHAPES.index("jawOpen")], np.arange(10) / 100)
    np.testing.assert_allclose(take.head[:9, 0], np.arange(9) / 100, atol=1e-9)


def test_rows_that_do_not_follow_are_left_out(tmp_path: Path) -> None:
    codes = ["00:00:01:10", "00:00:01:11", "00:00:01:11", "00:00:01:05", "00:00:02:12"]
    take = read_take(saved(tmp_path, "\n".join([HEADER, *(row(c, jawOpen=n / 10) for n, c in enumerate(codes))])))
    assert take.shapes[:, SHAPES.index("jawOpen")].tolist() == [0, 0.1, 0.4]


def test_a_lost_face_is_marked_and_bridged(tmp_path: Path) -> None:
    lost = "00:00:00:0{},0" + "," * 61
    cut = "00:00:00:03,61,0.1,0.2"
    lines = [
        HEADER,
        lost.format(0),
        row("00:00:00:01", jawOpen=0.2),
        lost.format(2),
        cut,
        row("00:00:00:04", jawOpen=0.8),
    ]
    take = read_take(saved(tmp_path, "\n".join([*lines, lost.format(5)])))
    assert take.tracked.tolist() == [False, True, False, False, True, False]
    np.testing.assert_allclose(take.shapes[:, SHAPES.index("jawOpen")], [0.2, 0.2, 0.4, 0.6, 0.8, 0.8])


def test_angles_are_bridged_the_short_way_round(tmp_path: Path) -> None:
    """A camera that hangs upside down sees rolls of half a turn, on either side of which they change their sign."""
    channels = np.zeros((5, 61))
    channels[:, 54] = [3.1, 0, 0, 0, -3.1]
    take = take_of(np.arange(5.0), channels, np.array([True, False, False, False, True]))
    assert (np.abs(take.head[:, 2]) >= 3.1 - 1e-9).all() and (np.abs(take.head[:, 2]) <= np.pi).all(), take.head[:, 2]
    np.testing.assert_allclose(take.head[[0, 4], 2], [3.1, -3.1])
    write_take(take, tmp_path / "take.csv")
    np.testing.assert_allclose(read_take(tmp_path / "take.csv").head, take.head, atol=1e-6)


def test_degrees_are_turned_to_radians(tmp_path: Path) -> None:
    take = read_take(saved(tmp_path, "\n".join([HEADER, row("00:00:00:01", HeadYaw=90), row("00:00:00:02")])))
    assert take.head[0, 0] == pytest.approx(np.pi / 2)
    take = read_take(saved(tmp_path, "\n".join([HEADER, row("00:00:00:01", HeadYaw=5), row("00:00:00:02")])))
    assert take.head[0, 0] == pytest.approx(np.radians(5))


@pytest.mark.parametrize(
    "text",
    [
        "", "\n\n", "a,b\n1,2\n", HEADER, HEADER + "\n00:00:00:01,0" + "," * 61, b"\x00\x01\x02", b"\xff\xfe\x80",
        HEADER + "\n00:00:00:01,61,0.5", HEADER + "\n00:00:00:01,61" + "," * 61,
        "Timecode,JawOpen,HeadYaw\n00:00:00:01,0,0\n", HEADER + "\n00:00:00:01,61" + ",0,5" * 61,
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(TakeError) as refused:
        read_take(saved(tmp_path, text))
    assert refused.value.code == "E_CAPTURE_CSV"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone.csv"):
        with pytest.raises(TakeError) as refused:
            read_take(path)
        assert refused.value.code == "E_CAPTURE_MISSING"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.02, 0.05, 90))  # a phone's uneven frames
    times -= times[0]
    channels = np.concatenate([rng.uniform(0, 1, (90, 52)), rng.uniform(-0.5, 0.5, (90, 9))], 1)
    tracked = np.ones(90, bool)
    tracked[40:43] = False
    take = take_of(times, channels, tracked, begin=3600.0)
    write_take(take, tmp_path / "take.csv")
    back = read_take(tmp_path / "take.csv")
    np.testing.assert_allclose(back.times, take.times, atol=1e-4)
    np.testing.assert_allclose(back.channels[tracked], take.channels[tracked], rtol=1e-7)
    np.testing.assert_allclose(back.channels, take.channels, atol=5e-3)
    assert back.tracked.tolist() == tracked.tolist() and back.begin == 3600
    assert (tmp_path / "take.csv").read_text().split("\n")[0] == HEADER


def test_timecode() -> None:
    assert timecode(0) == "00:00:00:00.000" and timecode(86399 + 59.5 / 60) == "23:59:59:59.500"
    assert timecode(1 - 1e-9) == "00:00:01:00.000"


@pytest.mark.parametrize("rate", [1, 2, 3, 4, 5, 6, 10, 24, 25, 29.97, 30, 59.94, 60])
def test_what_we_write_is_read_at_its_times(tmp_path: Path, rate: float) -> None:
    """Few of a second's frame numbers occur in a slow film."""
    times = np.arange(40) / rate
    write_take(take_of(times, np.zeros((40, 61)), np.ones(40, bool)), tmp_path / "a.csv")
    np.testing.assert_allclose(read_take(tmp_path / "a.csv").times, times, atol=1e-4)
