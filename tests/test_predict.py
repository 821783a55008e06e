"""`adaptseg-predict`: the server's code path without a server."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.cli.predict import main
from adaptseg_serve.predictor import load_predictor

FRAMES = [cv2.resize(np.random.default_rng(i).integers(0, 256, (6, 8, 3), np.uint8), (96, 72)) for i in range(4)]


def save(path: Path, frame: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(frame).save(path)
    return path


def save_video(path: Path, repeat: int = 1) -> Path:
    codec = "MJPG" if path.suffix == ".avi" else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10, (96, 72))
    for frame in FRAMES * repeat:
        writer.write(frame[..., ::-1])
    writer.release()
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return save_video(tmp_path / "drive.avi")


def test_an_image_gives_the_label_map_of_the_service(tiny_bundle: Path, tmp_path: Path) -> None:
    frame = save(tmp_path / "frame.png", FRAMES[0])
    assert main([str(tiny_bundle), str(frame), "--out", str(tmp_path / "out")]) == 0
    bundle = open_bundle(tiny_bundle)
    (expected,) = load_predictor(bundle).predict(bundle.preprocess.resize_image(FRAMES[0])[None], [(72, 96)])
    with Image.open(tmp_path / "out" / "frame.png") as written:
        assert written.mode == "P"
        np.testing.assert_array_equal(np.asarray(written), expected)


def test_the_runtime_is_the_one_that_is_named(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed (extra openvino)")
    frame = save(tmp_path / "frame.png", FRAMES[0])
    words = [str(tiny_bundle), str(frame), "--out", str(tmp_path / "out")]
    assert main([*words, "--runtime", "openvino"]) == 0
    assert "by openvino-cpu" in " ".join(capsys.readouterr().err.split())
    assert main([*words, "--runtime", "onnxruntime-cpu-int8"]) == 1, "the tiny bundle has no int8 graph"
    assert "int8" in capsys.readouterr().err
    with pytest.raises(SystemExit) as wrong:
        main([*words, "--runtime", "abacus"])
    assert wrong.value.code == 2


def test_a_folder_is_walked_and_its_shape_kept(tiny_bundle: Path, tmp_path: Path) -> None:
    for name in ("a.png", "deep/b.jpg", "deep/er/c.png"):
        save(tmp_path / "in" / name, FRAMES[1])
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    assert main([str(tiny_bundle), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--render", "both"]) == 0
    found = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    stems = ("a", "deep/b", "deep/er/c")
    assert found == {f"{stem}.png" for stem in stems} | {f"{stem}.overlay.jpg" for stem in stems}


def test_results_inside_the_folder_are_no_inputs_of_the_next_run(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "in" / "deep" / "a.png", FRAMES[1])
    monkeypatch.chdir(tmp_path / "in")
    for _ in range(2):
        assert main([str(tiny_bundle), str(tmp_path / "in"), "--out", "out", "--render", "both"]) == 0
    found = {str(p.relative_to(tmp_path / "in")) for p in (tmp_path / "in").rglob("*") if p.is_file()}
    assert found == {"deep/a.png", "out/deep/a.png", "out/deep/a.overlay.jpg"}


def test_a_video_gives_a_label_map_a_frame_and_an_overlay_video(tiny_bundle: Path, tmp_path: Path, video: Path) -> None:
    assert main([str(tiny_bundle), str(video), "--out", str(tmp_path / "out"), "--render", "both"]) == 0
    assert [p.name for p in sorted((tmp_path / "out" / "drive").iterdir())] == [f"{i:06d}.png" for i in range(4)]
    overlay = cv2.VideoCapture(str(tmp_path / "out" / "drive.overlay.mp4"))
    assert int(overlay.get(cv2.CAP_PROP_FRAME_COUNT)) == 4
    assert overlay.get(cv2.CAP_PROP_FPS) == 10
    overlay.release()


def test_one_bad_image_fails_alone_and_is_named(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = save(tmp_path / "good.png", FRAMES[0]), tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:-30])
    assert main([str(tiny_bundle), str(bad), str(good), "--out", str(tmp_path / "out")]) == 1
    assert (tmp_path / "out" / "good.png").is_file()
    assert f"{bad}: The PNG is cut short" in capsys.readouterr().err


def test_a_file_that_can_not_be_read_fails_alone(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = save(tmp_path / "in" / "a.png", FRAMES[0]), save(tmp_path / "in" / "b.png", FRAMES[1])
    (tmp_path / "in" / "._b.png").write_bytes(b"of macOS")
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path == bad:
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert main([str(tiny_bundle), str(good.parent), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert f"{bad}: The file can't be read (Permission denied)." in said
    assert "1 of 2 written" in said
    assert (tmp_path / "out" / "b.png").is_file()


def index_first(mp4: Path) -> Path:
    """Its moov before its mdat, as in a file to stream: such a file can be played though its end is missing."""
    data = mp4.read_bytes()
    mdat, moov = data.index(b"mdat") - 4, data.index(b"moov") - 4
    index = bytearray(data[moov:])
    at = index.index(b"stco") + 8
    (chunks,) = struct.unpack_from(">I", index, at)
    offsets = struct.unpack_from(f">{chunks}I", index, at + 4)
    struct.pack_into(f">{chunks}I", index, at + 4, *(offset + len(index) for offset in offsets))
    mp4.write_bytes(data[:mdat] + index + data[mdat:moov])
    return mp4


@pytest.mark.parametrize("name", ["cut.avi", "cut.mp4", "cut.mkv"])
def test_a_video_cut_in_half_fails_and_keeps_what_came(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = save_video(tmp_path / name, repeat=10)
    if path.suffix == ".mp4":
        index_first(path)
    assert main([str(tiny_bundle), str(path), "--out", str(tmp_path / "whole")]) == 0
    assert len(list((tmp_path / "whole/cut").iterdir())) == 40
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert main([str(tiny_bundle), str(path), "--out", str(tmp_path / "out")]) == 1
    written = len(list((tmp_path / "out/cut").iterdir()))
    assert 0 < written < 40
    said = capsys.readouterr().err
    assert f"{path}: The video is cut short or damaged: {written} frames could be read" in said
    assert "0 of 1 written" in said


def test_a_trimmed_mp4_is_whole_though_it_holds_frames_that_are_not_shown(tiny_bundle: Path, tmp_path: Path) -> None:
    path = save_video(tmp_path / "trimmed.mp4", repeat=3)
    data = bytearray(path.read_bytes())
    scale = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0]
    struct.pack_into(">i", data, data.index(b"elst") + 16, scale // 2)  # begins half a second later: 5 frames
    path.write_bytes(data)
    assert main([str(tiny_bundle), str(path), "--out", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out/trimmed").iterdir())) == 7


def test_a_video_without_a_frame_fails(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "none.avi"
    cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 72)).release()
    assert main([str(tiny_bundle), str(path), "--out", str(tmp_path / "out")]) == 1
    assert f"{path}: No frame of the video can be read" in capsys.readouterr().err


def test_an_overlay_that_can_not_be_written_is_no_success(
    tiny_bundle: Path, tmp_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "out" / "drive.overlay.mp4"
    taken.mkdir(parents=True)
    assert main([str(tiny_bundle), str(video), "--out", str(tmp_path / "out"), "--render", "overlay"]) == 1
    assert f"{taken} can't be written as a video" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (["nothing.png"], "is not there"),
        (["empty"], "holds no images or videos"),
        (["notes.txt"], "no image or video"),
        (["one/a.png", "two/a.png"], "would both be written as a"),
        (["clash"], "the frames of {}/clash/drive.avi would lie among the results of {}/clash/drive/000000.png"),
        ([""], "a second run would take its results for inputs"),
        ([], "at least one image"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], inputs: list[str], says: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("")
    save(tmp_path / "one" / "a.png", FRAMES[0])
    save(tmp_path / "two" / "a.png", FRAMES[1])
    save(tmp_path / "clash" / "drive" / "000000.png", FRAMES[1])
    save_video(tmp_path / "clash" / "drive.avi")
    out = tmp_path if inputs == [""] else tmp_path / "out"
    assert main([str(tiny_bundle), *(str(tmp_path / i) for i in inputs), "--out", str(out)]) == 2
    assert says.format(tmp_path, tmp_path) in capsys.readouterr().err


def test_unknown_flags_are_exit_code_2(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([str(tiny_bundle), "a.png", "--out", "o", "--rendr", "labels"])
    assert left.value.code == 2
    assert "--rendr" in capsys.readouterr().err


def test_a_missing_bundle_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = save(tmp_path / "frame.png", FRAMES[0])
    assert main([str(tmp_path / "none"), str(frame), "--out", str(tmp_path / "out")]) == 1
    assert "is not a bundle" in capsys.readouterr().err


def test_an_image_is_never_written_over(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = save(tmp_path / "frame.png", FRAMES[0])
    before = frame.read_bytes()
    assert main([str(tiny_bundle), str(frame), "--out", str(tmp_path)]) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert frame.read_bytes() == before
