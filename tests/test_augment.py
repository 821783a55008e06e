"""Random changes of training samples: images and labels move together, colours change, nothing leaves its range."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptseg_training.data.augment import crop, random_box, recolour

SIZE = (48, 64)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), height=st.integers(40, 400), width=st.integers(40, 700))
def test_a_crop_lies_inside_the_image(seed: int, height: int, width: int) -> None:
    left, top, right, bottom = random_box(height, width, SIZE, np.random.default_rng(seed))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert 1 / 1.16 < (right - left) / (bottom - top) / (SIZE[1] / SIZE[0]) < 1.16


def test_augmentation_moves_image_and_labels_together() -> None:
    """Class 1 is red, class 0 blue: whatever the crop, the flip and the light, red is where class 1 is."""
    label_map = np.zeros((96, 128), np.uint8)
    label_map[20:70, 30:90] = 1
    image = np.where(label_map[..., None], (200, 40, 40), (40, 40, 200)).astype(np.uint8)
    mixed = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        cut, labels = crop(image, label_map, SIZE, rng)
        changed = recolour(cut, rng)
        assert labels is not None
        assert changed.shape == (*SIZE, 3)
        red = changed[..., 0] > changed[..., 2]
        assert (red == labels.astype(bool)).mean() > 0.9
        mixed += 0 < labels.sum() < labels.size
    assert mixed > 10


@pytest.mark.parametrize("level", [0, 128, 255])
def test_recoloured_images_are_images_that_differ(level: int) -> None:
    image = np.full((*SIZE, 3), level, np.uint8)
    seen = [recolour(image, np.random.default_rng(seed)) for seed in range(20)]
    assert {(i.shape, i.dtype.name) for i in seen} == {((*SIZE, 3), "uint8")}
    assert np.ptp([i.mean() for i in seen]) > 10
    assert all(np.array_equal(recolour(image, np.random.default_rng(s)), seen[s]) for s in range(20))


def test_some_images_lie_partly_in_shade() -> None:
    """A grey image keeps one grey everywhere but where shade falls, which is smooth and deep."""
    image = np.full((96, 128, 3), 128, np.uint8)
    seen = [recolour(image, np.random.default_rng(seed)).astype(float).mean(2) for seed in range(40)]
    corners = [
        np.ptp([i[:24, :32].mean(), i[:24, -32:].mean(), i[-24:, :32].mean(), i[-24:, -32:].mean()]) for i in seen
    ]
    assert 8 <= sum(np.array(corners) > 15) <= 24
