"""`adaptseg-data check` finds each kind of damage, says what to do, and is content with the official trees."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers import official_trees as trees

from adaptseg_training.cli.common import guarded
from adaptseg_training.cli.data import PROG, data_command
from adaptseg_training.data.check import Kind

Capture = pytest.CaptureFixture[str]


def check(capture: Capture, *argv: str) -> tuple[int, str]:
    """Exit code and stdout; stderr must be free of tracebacks."""
    capture.readouterr()
    code = guarded(PROG, data_command, ["check", *argv])
    said = capture.readouterr()
    assert "Traceback" not in said.err
    return code, said.out or said.err


def problems(capture: Capture, *argv: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Exit code, and the problems of --json by kind."""
    code, said = check(capture, *argv, "--json")
    found: dict[str, list[dict[str, Any]]] = {}
    for problem in json.loads(said)["problems"]:
        found.setdefault(problem["kind"], []).append(problem)
    return code, found


@pytest.mark.parametrize(
    ("dataset", "write", "split", "images"),
    [
        ("gta5", trees.write_gta5, "", 3),
        ("synthia", trees.write_synthia, "", 3),
        ("synscapes", trees.write_synscapes, "", 3),
        ("cityscapes", trees.write_cityscapes, "train", 4),
        ("cityscapes", trees.write_cityscapes, "test", 2),
        ("cross_city", trees.write_cross_city, "rome/test", 2),
        ("cross_city", trees.write_cross_city, "rome", 2),
    ],
)
def test_nothing_must_be_mended_in_an_official_tree(
    tmp_path: Path, capsys: Capture, dataset: str, write: Callable[[Path], None], split: str, images: int
) -> None:
    write(tmp_path)
    code, said = check(capsys, dataset, str(tmp_path), "--split", split)
    assert code == 0
    assert f"{images} images (height x width: {images} of 96x160)" in said
    assert "Nothing must be mended." in said
    assert ("no labels" in said) == (split in ("test", "rome"))


def test_the_classes_that_synthia_lacks_are_a_note(tmp_path: Path, capsys: Capture) -> None:
    trees.write_synthia(tmp_path)
    code, found = problems(capsys, "synthia", str(tmp_path))
    assert code == 0
    assert [p["where"] for p in found.pop("empty_class")] == ["terrain", "truck", "train"]
    assert not found


def test_shares_of_classes_are_counted(tmp_path: Path, capsys: Capture) -> None:
    trees.write_gta5(tmp_path)
    report = json.loads(check(capsys, "gta5", str(tmp_path), "--json")[1])
    assert set(report["pixels"].values()) == {3 * 96 * 160 // 20}
    assert (report["sizes"], report["label_set"], report["must_mend"]) == ([[96, 160, 3]], "cityscapes", False)


def test_every_kind_of_damage_is_found_and_named(tmp_path: Path, capsys: Capture) -> None:
    trees.write_synscapes(tmp_path, frames=7)
    rgb, labels = tmp_path / "img/rgb", tmp_path / "img/class"
    (labels / "1.png").unlink()
    (rgb / "2.png").unlink()
    (rgb / "3.png").write_bytes((rgb / "3.png").read_bytes()[:-100])
    (labels / "4.png").write_bytes(b"")
    cv2.imwrite(str(labels / "5.png"), np.full((48, 80), 7, np.uint8))
    cv2.imwrite(str(labels / "6.png"), np.full(trees.SIZE, 77, np.uint8))
    code, found = problems(capsys, "synscapes", str(tmp_path))
    assert code == 1
    where = {kind: [str(Path(p["where"]).relative_to(tmp_path / "img")) for p in ps] for kind, ps in found.items()}
    assert where == {
        "missing_labels": ["rgb/1.png"],
        "stray_labels": ["class/2.png"],
        "unreadable": ["rgb/3.png", "class/4.png"],
        "wrong_size": ["class/5.png"],
        "unknown_ids": ["class/6.png"],
        "blank": ["class/6.png"],
    }
    assert found["unknown_ids"][0]["what"] == "77"
    assert found["wrong_size"][0]["what"] == "48x80, its image 96x160"
    assert found["missing_labels"][0]["what"].endswith("img/class/1.png")


def test_the_text_says_what_to_do_and_lists_ten_files(tmp_path: Path, capsys: Capture) -> None:
    trees.write_gta5(tmp_path, frames=12)
    for path in (tmp_path / "images").iterdir():
        path.write_bytes(b"torn")
    code, said = check(capsys, "gta5", str(tmp_path))
    assert code == 1
    assert "MEND unreadable files: 12" in said
    assert Kind.UNREADABLE.advice in said
    assert said.count("is not a readable image") == 10
    assert "... and 2 more; --json lists all" in said
    assert said.rstrip().endswith("Something must be mended.")


def test_gta5s_labels_of_other_sizes_are_a_note(tmp_path: Path, capsys: Capture) -> None:
    trees.write_gta5(tmp_path, frames=2)
    cv2.imwrite(str(tmp_path / "images/00001.png"), np.zeros((48, 80, 3), np.uint8))
    code, found = problems(capsys, "gta5", str(tmp_path))
    assert (code, list(found)) == (0, ["stretched"])


def test_own_data_names_colours_that_mean_nothing(tmp_path: Path, capsys: Capture) -> None:
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), np.zeros((8, 8, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 8, 3), (128, 64, 128), np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.full((8, 8, 3), (30, 20, 10), np.uint8))
    yaml = tmp_path / "own.yaml"
    yaml.write_text("{images: '*.jpg', labels: '*.png', label_set: cityscapes, colors: {'#804080': road}}")
    code, found = problems(capsys, "own", str(yaml))
    assert code == 1
    assert [(Path(p["where"]).name, p["what"]) for p in found["unknown_ids"]] == [("b.png", "#0a141e")]


def test_frames_are_looked_at_too(tmp_path: Path, capsys: Capture) -> None:
    cv2.imwrite(str(tmp_path / "good.jpg"), np.zeros((8, 8, 3), np.uint8))
    assert check(capsys, "frames", str(tmp_path))[0] == 0
    (tmp_path / "bad.jpg").write_bytes(b"torn")
    assert check(capsys, "frames", str(tmp_path))[0] == 1
    (tmp_path / "bad.jpg").rename(tmp_path / "bad.mp4")
    code, said = check(capsys, "frames", str(tmp_path))
    assert code == 1
    assert "bad.mp4 is not a readable video" in said


@pytest.mark.parametrize(
    ("argv", "match"),
    [
        (["streets", "."], "streets are drawn on the fly"),
        (["gta5", "nowhere"], "there is no folder nowhere/images. GTA5 is expected as"),
        (["gta5", ".", "--workers", "0"], "--workers is 0"),
    ],
)
def test_wrong_usage_is_a_sentence(capsys: Capture, argv: list[str], match: str) -> None:
    code, said = check(capsys, *argv)
    assert code == 2
    assert match in said


@pytest.mark.parametrize("rows", ["0", "-1"])
def test_a_preview_without_rows_is_a_sentence(tmp_path: Path, capsys: Capture, rows: str) -> None:
    code = guarded(PROG, data_command, ["preview", str(tmp_path / "sheet.png"), f"--rows={rows}"])
    assert code == 2
    assert capsys.readouterr().err == f"adaptseg-data: --rows is {rows}; it must be 1 or more.\n"


@pytest.mark.parametrize(
    ("argv", "match"),
    [
        (["preview", "sheet.png", "--data.size", "0", "0"], "--data.size is 0 0; each number of it must be 32 or more"),
        (["preview", "sheet.png", "--data.every", "0"], "--data.every is 0; it must be 1 or more"),
        (["synthesize", "streets", "--count", "1", "--seed", "-1"], "--seed 0 or more"),
    ],
)
def test_numbers_that_can_not_be_are_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, argv: list[str], match: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert guarded(PROG, data_command, argv) == 2
    assert match in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("dataset", "write", "split", "wide"),
    [
        ("gta5", trees.write_gta5, "", 2),
        ("synthia", trees.write_synthia, "", 2),
        ("synscapes", trees.write_synscapes, "", 2),
        ("cityscapes", trees.write_cityscapes, "val", 2),
        ("cross_city", trees.write_cross_city, "rio/test", 2),
        ("cross_city", trees.write_cross_city, "rio/train", 1),
    ],
)
def test_every_data_set_has_a_preview(
    tmp_path: Path, dataset: str, write: Callable[[Path], None], split: str, wide: int
) -> None:
    write(tmp_path / "data")
    flags = [f"--data.dataset={dataset}", f"--data.root={tmp_path / 'data'}", f"--data.split={split}", "--rows=2"]
    assert guarded(PROG, data_command, ["preview", str(tmp_path / "sheet.png"), *flags]) == 0
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert sheet.shape[1] == wide * 400
