"""Loaders of the official layouts give the truth that the trees' writers encoded, each in its own files and ids."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import official_trees as trees

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import CROSS_CITY_13_TRAIN_IDS, IGNORE_ID, LABEL_SETS
from adaptseg_training.config import Dataset, DomainConfig
from adaptseg_training.data.domains import open_domain
from adaptseg_training.data.prepare import label_table
from adaptseg_training.data.sample import ImageSet
from adaptseg_training.data.synthia import read_synthia_ids
from adaptseg_training.errors import DataError

WRITERS: dict[Dataset, Callable[[Path], None]] = {
    "gta5": trees.write_gta5,
    "synthia": trees.write_synthia,
    "synscapes": trees.write_synscapes,
    "cityscapes": trees.write_cityscapes,
    "cross_city": trees.write_cross_city,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of every tree, by the data set's name. Read only."""
    folder = tmp_path_factory.mktemp("trees")
    for name, write in WRITERS.items():
        write(folder / name)
    return folder


def opened(root: Path, dataset: Dataset, split: str = "") -> ImageSet:
    return open_domain(DomainConfig(dataset, (root / dataset,), split), "source")


@pytest.mark.parametrize(
    ("dataset", "split", "first", "count", "without"),
    [
        ("gta5", "", 1, 3, ()),
        ("gta5", "all", 1, 3, ()),
        ("gta5", "train", 1, 2, ()),
        ("gta5", "val", 3, 1, ()),
        ("synthia", "", 0, 3, trees.SYNTHIA_LACKS),
        ("synscapes", "", 1, 3, ()),
        ("cityscapes", "", 0, 4, ()),
        ("cityscapes", "train", 0, 4, ()),
        ("cityscapes", "val", 0, 2, ()),
    ],
)
def test_images_and_cityscapes_train_ids(
    root: Path, dataset: Dataset, split: str, first: int, count: int, without: tuple[int, ...]
) -> None:
    images = opened(root, dataset, split)
    assert images.label_set == "cityscapes"
    assert len(images) == count
    for index in range(2 if count > 1 else 1):
        label_map = trees.truth(first + index, without=without)
        np.testing.assert_array_equal(images[index].image, trees.image_of(label_map, first + index))
        np.testing.assert_array_equal(images[index].label_map, label_map)


@pytest.mark.parametrize("split", ["rio/test", "Rome/Test", "tokyo/test", "taipei/test"])
def test_cross_city_in_its_13_classes(root: Path, split: str) -> None:
    images = opened(root, "cross_city", split)
    assert images.label_set == "cross-city"
    label_map = images[1].label_map
    assert label_map is not None
    cityscapes = trees.truth(1, without=[i for i in range(19) if i not in CROSS_CITY_13_TRAIN_IDS])
    names, known = LABEL_SETS["cityscapes"].names, cityscapes != IGNORE_ID
    assert [LABEL_SETS["cross-city"].names[i] for i in label_map[known]] == [names[i] for i in cityscapes[known]]
    assert (label_map[~known] == IGNORE_ID).all()


@pytest.mark.parametrize("split", ["rio", "Rome/train", "TOKYO/Train"])
def test_cross_citys_train_frames_are_unlabelled(root: Path, split: str) -> None:
    images = opened(root, "cross_city", split)
    assert (len(images), images.label_set, images[0].label_map) == (2, None, None)


def test_cityscapes_test_split_and_a_tree_without_gtfine_are_unlabelled(root: Path, tmp_path: Path) -> None:
    assert opened(root, "cityscapes", "test").label_set is None
    (tmp_path / "cityscapes").mkdir()
    (tmp_path / "cityscapes/leftImg8bit").symlink_to(root / "cityscapes/leftImg8bit")
    images = opened(tmp_path, "cityscapes", "val")
    assert (len(images), images.label_set, images[0].label_map) == (2, None, None)
    with pytest.raises(ConfigError, match=r"--source\.dataset has no labels"):
        label_table(images, "cityscapes", "source")


def test_synscapes_frames_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    trees.write_synscapes(tmp_path / "synscapes", frames=11, size=(32, 40))
    images = opened(tmp_path, "synscapes")
    assert [Path(images[i].name).stem for i in (0, 1, 9, 10)] == ["1", "2", "10", "11"]


def test_gta5_labels_of_another_size_are_stretched_as_in_the_reference(tmp_path: Path) -> None:
    trees.write_gta5(tmp_path / "gta5", frames=1)
    label_map = trees.truth(1)
    path = tmp_path / "gta5/images/00001.png"
    cv2.imwrite(str(path), np.zeros((192, 320, 3), np.uint8))
    np.testing.assert_array_equal(opened(tmp_path, "gta5")[0].label_map, label_map.repeat(2, 0).repeat(2, 1))


def test_other_data_sets_refuse_labels_of_another_size(tmp_path: Path) -> None:
    trees.write_synscapes(tmp_path / "synscapes", frames=1)
    cv2.imwrite(str(tmp_path / "synscapes/img/rgb/1.png"), np.zeros((48, 80, 3), np.uint8))
    with pytest.raises(DataError, match=r"class/1\.png is \(96, 160\), its image \(48, 80\)"):
        opened(tmp_path, "synscapes")[0]


@pytest.mark.parametrize("reader", ["cv2", "Pillow"])
def test_synthia_labels_that_an_8_bit_tool_rewrote_are_refused(root: Path, tmp_path: Path, reader: str) -> None:
    from PIL import Image as Pillow

    official, rewritten = root / "synthia/GT/LABELS/0000000.png", tmp_path / "0000000.png"
    if reader == "cv2":
        cv2.imwrite(str(rewritten), np.asarray(cv2.imread(str(official))))
    else:
        with Pillow.open(official) as picture:
            picture.convert("RGB").save(rewritten)
    with pytest.raises(DataError, match=r"uint8 of shape .*16-bit PNGs of three channels"):
        read_synthia_ids(rewritten)


def test_synthia_with_a_value_that_is_no_class_is_named(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4, 3), 700, np.uint16))
    with pytest.raises(DataError, match=r"a\.png has a class 700"):
        read_synthia_ids(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("dataset", "split", "match"),
    [
        ("gta5", "dev", "gta5 has no split 'dev'; it has all, train, val, test"),
        ("gta5", "test", "no image of GTA5's split 'test'"),
        ("synthia", "val", "synthia has no splits"),
        ("synscapes", "val", "synscapes has no splits"),
        ("cityscapes", "dev", "cityscapes has no split 'dev'"),
        ("cross_city", "", "CITY/train"),
        ("cross_city", "paris/train", "no split 'paris/train'.*rio, rome, tokyo, taipei"),
        ("cross_city", "rio/val", "no split 'rio/val'"),
    ],
)
def test_a_wrong_split_names_the_right_ones(root: Path, dataset: Dataset, split: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        opened(root, dataset, split)


def test_gta5_without_its_split_file_says_where_it_is(tmp_path: Path) -> None:
    trees.write_gta5(tmp_path / "gta5", frames=1)
    path = tmp_path / "gta5/split.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(DataError, match=r"split\.mat is not GTA5's split file"):
        opened(tmp_path, "gta5", "train")
    path.unlink()
    with pytest.raises(ConfigError, match="read_mapping"):
        opened(tmp_path, "gta5", "train")


@pytest.mark.parametrize("dataset", WRITERS)
def test_a_folder_of_another_layout_is_told_the_right_one(tmp_path: Path, dataset: Dataset) -> None:
    split = "rome/test" if dataset == "cross_city" else ""
    with pytest.raises(ConfigError, match=r"there is no folder .*is expected as"):
        opened(tmp_path, dataset, split)


@pytest.mark.parametrize(("dataset", "label"), [("gta5", "labels/00002.png"), ("synthia", "GT/LABELS/0000001.png")])
def test_a_missing_label_file_is_named(tmp_path: Path, dataset: Dataset, label: str) -> None:
    WRITERS[dataset](tmp_path / dataset)
    (tmp_path / dataset / label).unlink()
    with pytest.raises(ConfigError, match=f"1 of 3 images have no label map.*{label}.*adaptseg-data check"):
        opened(tmp_path, dataset)


def test_cityscapes_labels_train_13_and_16_classes(root: Path) -> None:
    images = opened(root, "cityscapes")
    for label_set in ("cross-city", "synthia"):
        table = label_table(images, label_set, "source")
        names = LABEL_SETS[label_set].names
        for c in LABEL_SETS["cityscapes"].classes:
            assert table[c.train_id] == (names.index(c.name) if c.name in names else IGNORE_ID)
