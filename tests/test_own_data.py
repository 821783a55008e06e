"""Your own data by a YAML file: pairs by wildcards, numbers and colours to classes, and errors that name the key."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import CITYSCAPES, IGNORE_ID, find_label_set
from adaptseg_training.cli.common import guarded
from adaptseg_training.cli.evaluate import evaluate_command
from adaptseg_training.cli.train import train_command
from adaptseg_training.config import DomainConfig
from adaptseg_training.data.colors import UNKNOWN, ColorReader, parse_color
from adaptseg_training.data.domains import open_domain
from adaptseg_training.data.globs import counterpart, find_files
from adaptseg_training.data.own import list_own
from adaptseg_training.data.prepare import label_table
from adaptseg_training.data.sample import ImageSet
from adaptseg_training.errors import DataError

NUMBERS = np.arange(60, dtype=np.uint8).reshape(6, 10) // 10  # rows of 0 .. 5
ROAD, CAR = CITYSCAPES.train_id("road"), CITYSCAPES.train_id("car")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two days of frames, with numbers and colours as labels, each in folders and under names of its own."""
    for day in ("monday", "friday"):
        for name in ("a", "b"):
            write(tmp_path / f"frames/{day}/{name}.jpg", np.full((6, 10, 3), 99, np.uint8))
            write(tmp_path / f"masks/{day}/{name}_ids.png", NUMBERS)
            colours = np.array([[0, 0, 0], [128, 64, 128], [0, 0, 142], [9, 9, 9], [0, 0, 0], [0, 0, 0]], np.uint8)
            write(tmp_path / f"colours/{day}_{name}.png", np.ascontiguousarray(colours[NUMBERS][..., ::-1]))
    return tmp_path


def write(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def opened(folder: Path, **settings: Any) -> ImageSet:
    path = folder / "roads.yaml"
    path.write_text(yaml.safe_dump(settings))
    return open_domain(DomainConfig("own", (path,)), "source")


BY_NUMBER = {"images": "frames/*/*.jpg", "labels": "masks/*/*_ids.png", "label_set": "cityscapes"}
BY_CLASSES = {"images": "frames/*/*.jpg", "labels": "masks/*/*_ids.png", "classes": ["road", "lanes", "car"]}
BY_COLOUR = {"images": "frames/*/*.jpg", "labels": "colours/*_*.png", "label_set": "cityscapes"}


def rows(images: ImageSet, index: int = 0) -> list[int]:
    label_map = images[index].label_map
    assert label_map is not None
    return [int(i) for i in label_map[:, 0]]


def test_images_without_labels(folder: Path) -> None:
    images = opened(folder, images="frames/**/*.jpg")
    assert (len(images), images.label_set, images[0].label_map) == (4, None, None)
    assert images[0].name.endswith("friday/a.jpg")
    assert len(opened(folder, images=str(folder / "frames/monday/?.jpg"))) == 2


def test_numbers_become_classes_and_the_rest_is_ignored(folder: Path) -> None:
    images = opened(folder, **BY_NUMBER, ids={1: "road", 4: "car", 5: "car", 0: "ignore"})
    assert (len(images), images.label_set) == (4, "cityscapes")
    assert rows(images) == [IGNORE_ID, ROAD, IGNORE_ID, IGNORE_ID, CAR, CAR]


def test_colours_become_classes_and_the_rest_is_ignored(folder: Path) -> None:
    images = opened(folder, **BY_COLOUR, colors={"#804080": "road", "0, 0, 142": "car", "#000000": "ignore"})
    assert rows(images, 3) == [IGNORE_ID, ROAD, CAR, IGNORE_ID, IGNORE_ID, IGNORE_ID]


def test_train_ids_and_label_ids(folder: Path) -> None:
    assert rows(opened(folder, **{**BY_NUMBER, "label_set": "camvid"}, ids="train_ids")) == [0, 1, 2, 3, 4, 5]
    write(folder / "masks/friday/a_ids.png", NUMBERS + 7)
    assert rows(opened(folder, **BY_NUMBER, ids="label_ids")) == [0, 1, 255, 255, 2, 3]


@pytest.mark.parametrize("name", ["cityscapes", "cross-city", "synthia", "camvid"])
def test_every_official_number_is_known(folder: Path, name: str) -> None:
    """adaptseg-data check would call correct files wrong."""
    path = folder / "official.yaml"
    path.write_text(yaml.safe_dump({**BY_NUMBER, "label_set": name, "ids": "label_ids"}))
    labels = list_own(path, "").labels
    assert labels is not None
    assert labels.ids.known() == {*range(12 if name == "camvid" else 34), IGNORE_ID}
    assert labels.ids.id_map == find_label_set(name).id_map


def test_classes_of_your_own_translate_by_name(folder: Path) -> None:
    images = opened(folder, **BY_CLASSES, ids={0: "lanes", 1: "car", 5: "road"})
    assert images.label_set == "road,lanes,car"
    assert rows(images) == [1, 2, IGNORE_ID, IGNORE_ID, IGNORE_ID, 0]
    to_cityscapes = label_table(images, "cityscapes", "source")
    assert to_cityscapes[[0, 1, 2]].tolist() == [ROAD, IGNORE_ID, CAR]
    streets = open_domain(DomainConfig("streets", size=(64, 96)), "source")
    from_cityscapes = label_table(streets, "road,lanes,car", "source")
    assert {i: int(from_cityscapes[i]) for i in range(19) if from_cityscapes[i] != IGNORE_ID} == {ROAD: 0, CAR: 2}
    with pytest.raises(ConfigError, match="no translation from 'road,lanes,car' classes to 'tram,track' classes"):
        label_table(images, "tram,track", "source")


def test_what_synthesize_writes_can_be_read_back(tmp_path: Path) -> None:
    from adaptseg_training.data.streets import render_street
    from adaptseg_training.data.synthesize import synthesize

    synthesize(tmp_path / "streets", range(2), "day", (64, 96))
    images = opened(
        tmp_path, images="streets/images/*.jpg", labels="streets/labels/*.png", label_set="cityscapes", ids="train_ids"
    )
    np.testing.assert_array_equal(images[1].label_map, render_street(1, "day", (64, 96))[1])


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"image": "*.jpg"}, r"roads\.yaml: there is no key 'image'\. Perhaps you meant images\?"),
        ({"images": "*.jpg", "colours": {}}, r"no key 'colours'\. Perhaps you meant colors\?"),
        ({"labels": "*.png"}, r"roads\.yaml: images is missing"),
        ({"images": "*.gif"}, r"no image matches images: \*\.gif"),
        ({"images": 7}, "images must be text, it is 7"),
        ({"images": "frames/monday/[ab].jpg"}, r"images: .*\[ab\]\.jpg is no glob .* wildcards are \*\*/, \* and \?"),
        ({"images": "frames/**.jpg"}, r"images: frames/\*\*\.jpg is no glob of files"),
        ({"images": "frames/**"}, r"images: frames/\*\* is no glob of files"),
        ({"images": "."}, r"images: \. is no glob of files"),
        ({"images": "/"}, r"images: / is no glob of files"),
        ({**BY_NUMBER, "labels": "masks/*/*_[i]ds.png"}, r"labels: .* is no glob of files"),
        ({"images": "frames/*/*.jpg", "ids": {1: "road"}}, "ids can't be used without labels"),
        ({"images": "frames/*/*.jpg", "labels": "masks/*.png", "label_set": "camvid"}, "the same wildcards"),
        ({**BY_NUMBER, "ids": {1: "raod"}}, r"cityscapes has no class 'raod'\. Perhaps you meant road"),
        ({**BY_NUMBER, "ids": {1: "zebra"}}, r"has no class 'zebra'\. There are road, sidewalk, .*, ignore\."),
        ({**BY_NUMBER, "ids": {300: "road"}}, "300 is no number from 0 to 255"),
        ({**BY_NUMBER, "ids": ["road"]}, "ids must map"),
        ({**BY_NUMBER}, "give either ids .* or colors"),
        ({**BY_NUMBER, "ids": "train_ids", "colors": {"#000000": "road"}}, "give either ids .* or colors"),
        ({**BY_NUMBER, "label_set": "kitti", "ids": {1: "road"}}, "'kitti' is neither one of cityscapes, "),
        ({"images": "frames/*/*.jpg", "labels": "masks/*/*_ids.png", "ids": {1: "road"}}, "give either label_set"),
        ({**BY_NUMBER, "classes": ["road", "car"], "ids": {1: "road"}}, "give either label_set .* or classes"),
        ({**BY_CLASSES, "classes": "road"}, "classes must list names"),
        ({**BY_CLASSES, "classes": ["road", "road"]}, "class names must differ"),
        ({**BY_CLASSES, "ids": {1: "lane"}}, "has no class 'lane'. Perhaps you meant lanes"),
        ({**BY_COLOUR, "colors": {"purple": "road"}}, "'purple' is no colour; write it as \"#804080\""),
        ({**BY_COLOUR, "colors": {"#000000": "road", "0,0,0": "car"}}, "'0,0,0' is there twice"),
    ],
)
def test_a_wrong_file_is_a_sentence(folder: Path, settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        opened(folder, **settings)


def test_a_file_that_is_no_yaml_or_not_there_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.yaml").write_text("images: [")
    (tmp_path / "list.yaml").write_text("- images")
    for name in ("text.yaml", "gone.yaml", "list.yaml"):
        with pytest.raises(ConfigError, match=name):
            list_own(tmp_path / name, "")
    with pytest.raises(ConfigError, match="own data has no splits"):
        list_own(tmp_path / "list.yaml", "train")


def test_missing_and_unreadable_label_files_are_named(folder: Path) -> None:
    (folder / "masks/monday/b_ids.png").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"b_ids\.png"):
        opened(folder, **BY_NUMBER, ids="train_ids")[3]
    (folder / "masks/monday/b_ids.png").unlink()
    with pytest.raises(ConfigError, match=r"1 of 4 images have no label map.*monday/b_ids\.png"):
        opened(folder, **BY_NUMBER, ids="train_ids")


NAME = st.text("ab._-", min_size=1, max_size=4).filter(lambda s: s.strip("."))


@given(folders=st.lists(NAME, max_size=3), stem=NAME)
def test_wildcards_carry_over(folders: list[str], stem: str) -> None:
    inside = "".join(f"{f}/" for f in folders)
    image = Path("/data/in") / f"{inside}x{stem}.png"
    assert counterpart(Path("/data"), image, "in/**/x*.png", "out/**/*_l.png") == Path(
        f"/data/out/{inside}{stem}_l.png"
    )


def test_a_folder_before_the_wildcards_may_have_brackets(folder: Path) -> None:
    (folder / "frames").rename(folder / "[2024] frames")
    images = opened(folder, **{**BY_NUMBER, "images": "[2024] frames/*/*.jpg"}, ids="train_ids")
    assert (len(images), rows(images)) == (4, [0, 1, 2, 3, 4, 5])


def test_a_glob_without_wildcards_is_one_file(folder: Path) -> None:
    assert find_files(folder, "frames/monday/a.jpg") == [folder / "frames/monday/a.jpg"]
    assert find_files(folder, "nowhere/*.jpg") == []


def test_colours_that_have_no_class_are_told(folder: Path) -> None:
    reader = ColorReader(((128, 64, 128), (0, 0, 142)))
    path = folder / "colours/monday_a.png"
    assert reader(path)[:, 0].tolist() == [UNKNOWN, 0, 1, UNKNOWN, UNKNOWN, UNKNOWN]
    assert reader.unknown(path, [UNKNOWN]) == ["#000000", "#090909"]
    assert [parse_color(t) for t in ("#80408", "1,2,300", "1 2 3", "#0A0b0C")] == [None, None, None, (10, 11, 12)]


def test_classes_of_your_own_train_and_score(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened(folder, **BY_CLASSES, ids={0: "lanes", 1: "car", 5: "road"})
    own = [f"{flag}={value}" for flag, value in (("dataset", "own"), ("root", folder / "roads.yaml"))]
    flags = [f"--source.{flag}" for flag in own]
    flags += ["--source.size", "64", "64", "--label-set=road,lanes,car", "--generator.backbone=lite0"]
    flags += ["--generator.weights=none", "--run.device=cpu", "--run.workers=0", "--run.stop-step=1"]
    flags += [f"--run.dir={folder}", "--run.name=run", "--aux.seg-weight=0", "--aux.adv-weight=0"]
    assert guarded("adaptseg-train", train_command, flags) == 0
    capsys.readouterr()
    data = [f"--data.{flag}" for flag in own]
    assert guarded("adaptseg-evaluate", evaluate_command, ["--checkpoint", str(folder / "run"), *data]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["label_set"], list(summary["iou"])) == ("road,lanes,car", ["road", "lanes", "car"])
