"""The street renderer: one seed, one frame; labels that fit the picture; shares like those of real roads."""

from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from adaptseg_serve.labels import CITYSCAPES, IGNORE_ID
from adaptseg_training.data.streets import LOOKS, render_street

Image = NDArray[np.uint8]

SIZE = (180, 240)
SEEDS = 60

# Mean share of all pixels, at the widest that still looks like the roads the labels are to stand for.
SHARES = {
    "road": (0.24, 0.42),
    "sidewalk": (0.02, 0.10),
    "building": (0.12, 0.30),
    "vegetation": (0.05, 0.18),
    "sky": (0.12, 0.30),
    "car": (0.025, 0.10),
    "person": (0.003, 0.02),
    "pole": (0.005, 0.03),
    "traffic sign": (0.002, 0.02),
    "fence": (0.003, 0.03),
    "terrain": (0.003, 0.06),
    "rider": (0.0005, 0.01),
    "bicycle": (0.0002, 0.01),
}


@cache
def frames(look: str = "day", count: int = SEEDS) -> list[tuple[Image, Image]]:
    return [render_street(seed, look, SIZE) for seed in range(count)]


def test_the_looks_on_offer() -> None:
    assert len(set(LOOKS)) == len(LOOKS)
    assert {"day", "dusk"} <= set(LOOKS)


@pytest.mark.parametrize("look", LOOKS)
def test_same_arguments_give_the_same_bytes(look: str) -> None:
    first, again = render_street(11, look, SIZE), render_street(11, look, SIZE)
    assert first[0].tobytes() == again[0].tobytes()
    assert first[1].tobytes() == again[1].tobytes()


def test_frames_do_not_depend_on_what_was_drawn_before() -> None:
    alone = render_street(3, "day", SIZE)
    render_street(4, "dusk", (64, 100))
    after = render_street(3, "day", SIZE)
    assert np.array_equal(alone[0], after[0])
    assert np.array_equal(alone[1], after[1])


def test_seeds_give_different_streets() -> None:
    assert len({labels.tobytes() for _, labels in frames()}) == SEEDS


@pytest.mark.parametrize("size", [(64, 64), (65, 91), (97, 64), (360, 480), (512, 1024)])
def test_shape_and_dtype_at_any_size(size: tuple[int, int]) -> None:
    for seed in (0, 1, 2):
        image, labels = render_street(seed, size=size)
        assert image.shape == (*size, 3)
        assert labels.shape == size
        assert image.dtype == labels.dtype == np.uint8
        assert image.flags.c_contiguous
        assert labels.flags.c_contiguous
        assert image.std() > 15


def test_labels_are_train_ids_or_ignored() -> None:
    known = {*range(len(CITYSCAPES)), IGNORE_ID}
    assert all(set(np.unique(labels)) <= known for _, labels in frames())


def test_the_same_street_at_two_sizes_has_the_same_layout() -> None:
    for seed in range(6):
        small = render_street(seed, size=(180, 240))[1]
        large = render_street(seed, size=(360, 480))[1]
        assert (large[::2, ::2] == small).mean() > 0.9


def test_class_shares_are_those_of_streets() -> None:
    counts = sum(np.bincount(labels.ravel(), minlength=256) for _, labels in frames())
    shares = np.asarray(counts) / np.sum(counts)
    found = {name: float(shares[CITYSCAPES.train_id(name)]) for name in SHARES}
    off = {name: share for name, share in found.items() if not SHARES[name][0] <= share <= SHARES[name][1]}
    assert not off, f"shares {off} outside {SHARES}"
    assert shares[IGNORE_ID] < 0.05


@pytest.mark.parametrize("name", ["wall", "traffic light", "truck", "bus", "motorcycle"])
def test_rarer_classes_appear(name: str) -> None:
    train_id = CITYSCAPES.train_id(name)
    assert any((labels == train_id).any() for _, labels in frames())


def test_sky_above_and_road_with_pavements_below() -> None:
    sky, road, pavement = (CITYSCAPES.train_id(name) for name in ("sky", "road", "sidewalk"))
    rows = SIZE[0] // 5
    top = np.mean([(labels[:rows] == sky).mean() for _, labels in frames()])
    near = np.stack([labels[-2 * rows : -rows] for _, labels in frames()])
    third = SIZE[1] // 3
    assert top > 0.4
    assert (near[:, :, third:-third] == road).mean() > 0.8
    assert ((near == road) | (near == pavement)).mean() > 0.7
    assert 0.12 < (near == pavement).mean() < 0.25
    assert not any((labels[-rows:] == sky).any() for _, labels in frames())
    assert not any((labels[:rows] == road).any() for _, labels in frames())


@pytest.mark.parametrize("look", [look for look in LOOKS if look != "day"])
def test_a_look_changes_the_light_and_nothing_else(look: str) -> None:
    for seed in range(5):
        day, other = frames()[seed], render_street(seed, look, SIZE)
        assert np.array_equal(day[1], other[1])
        assert np.abs(day[0].astype(int) - other[0]).mean() > 8


def test_day_is_brighter_than_dusk_and_night() -> None:
    mean = {look: np.mean([image.mean() for image, _ in frames(look, 12)]) for look in ("day", "dusk", "night")}
    assert mean["day"] > 1.5 * mean["dusk"]
    assert mean["dusk"] > mean["night"]


def test_labels_change_where_the_picture_does() -> None:
    """Neighbours with different labels differ far more in colour than neighbours with the same."""
    across, within = [], []
    for image, labels in frames():
        calm = np.asarray(cv2.GaussianBlur(image, (3, 3), 0), np.int16)
        step = np.abs(calm[:, 2:] - calm[:, :-2]).mean(axis=2)
        changes = labels[:, 2:] != labels[:, :-2]
        across.append(step[changes].mean())
        within.append(step[~changes].mean())
    assert np.mean(across) > 2.5 * np.mean(within)


def test_an_unknown_look_or_a_tiny_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown look 'fog'.*day"):
        render_street(0, look="fog")
    with pytest.raises(ValueError, match="64"):
        render_street(0, size=(32, 200))
