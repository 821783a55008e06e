"""Classes, colours and label-id maps: the only home of these facts.

Words: a *label id* is a data set's own class number, as stored in its PNG files; a *train id* is the
number a generator predicts, 0 .. len(classes) - 1; `IGNORE_ID` (255) marks pixels that count for nothing.
A *label map* is an (H, W) uint8 array of train ids.
"""

from collections.abc import Mapping
from colorsys import hsv_to_rgb
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

IGNORE_ID = 255

LabelMap = NDArray[np.uint8]
"""(H, W) uint8 train ids, `IGNORE_ID` where unknown."""


@dataclass(frozen=True)
class LabelClass:
    """One class: its train id, its name, its colour (R, G, B in 0..255) and its label id."""

    train_id: int
    name: str
    color: tuple[int, int, int]
    label_id: int


@dataclass(frozen=True)
class LabelSet:
    """The classes of a data set, ordered by train id; `id_map` takes label ids to train ids.

    Label ids that `id_map` does not name are ignored in training and in scores.
    """

    name: str
    classes: tuple[LabelClass, ...]
    id_map: Mapping[int, int]

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.classes)

    def train_id(self, name: str) -> int:
        """Train id of the class called `name`; KeyError names the classes there are."""
        for c in self.classes:
            if c.name == name:
                return c.train_id
        raise KeyError(f"{self.name} has no class {name!r}; it has {', '.join(self.names)}")

    def palette(self) -> NDArray[np.uint8]:
        """(256, 3) uint8 RGB by train id; ids without a class, `IGNORE_ID` among them, are black."""
        table = np.zeros((256, 3), np.uint8)
        for c in self.classes:
            table[c.train_id] = c.color
        return table

    def to_train_ids(self) -> NDArray[np.uint8]:
        """(256,) uint8 lookup table: label id -> train id, `IGNORE_ID` where `id_map` is silent."""
        return lookup_table(self.id_map)

    def to_label_ids(self) -> NDArray[np.uint8]:
        """(256,) uint8 lookup table: train id -> label id; anything else becomes 0 (unlabeled)."""
        return lookup_table({c.train_id: c.label_id for c in self.classes}, default=0)


@dataclass(frozen=True)
class LabelIds:
    """How the label files of a data set number classes: `id_map` takes label ids to the train ids of `label_set`.

    `ignored` holds the other ids that the data set defines; an id in neither, but for `IGNORE_ID`, is a mistake.
    """

    label_set: str
    id_map: Mapping[int, int]
    ignored: frozenset[int] = frozenset()

    def to_train_ids(self) -> NDArray[np.uint8]:
        """(256,) uint8 lookup table: label id -> train id, `IGNORE_ID` where `id_map` is silent."""
        return lookup_table(self.id_map)

    def known(self) -> frozenset[int]:
        """Every label id that a file may hold."""
        return frozenset(self.id_map) | self.ignored | {IGNORE_ID}


def lookup_table(mapping: Mapping[int, int], default: int = IGNORE_ID) -> NDArray[np.uint8]:
    """(256,) uint8 table for `table[ids]` or `cv2.LUT`; ids outside 0..255 (Cityscapes' -1) can't occur in it."""
    table = np.full(256, default, np.uint8)
    for source, target in mapping.items():
        if 0 <= source < 256:
            table[source] = target
    return table


def _label_set(name: str, *rows: tuple[str, tuple[int, int, int], int]) -> LabelSet:
    classes = tuple(LabelClass(i, class_name, color, label_id) for i, (class_name, color, label_id) in enumerate(rows))
    return LabelSet(name, classes, {c.label_id: c.train_id for c in classes})


def _by_name(a: LabelSet, b: LabelSet) -> tuple[int, ...]:
    """The train id in `b` of each class of `a`; classes that `b` lacks are ignored."""
    ids = {c.name: c.train_id for c in b.classes}
    return tuple(ids.get(c.name, IGNORE_ID) for c in a.classes)


def _subset(name: str, base: LabelSet, train_ids: tuple[int, ...]) -> LabelSet:
    """`base` reduced to some of its classes, renumbered from 0 in the order given; label ids stay."""
    kept = [base.classes[i] for i in train_ids]
    return _label_set(name, *((c.name, c.color, c.label_id) for c in kept))


# Cityscapes' own label ids (gtFine *_labelIds.png) and colours; GTA5's id labels use the same numbers.
CITYSCAPES = _label_set(
    "cityscapes",
    ("road", (128, 64, 128), 7),
    ("sidewalk", (244, 35, 232), 8),
    ("building", (70, 70, 70), 11),
    ("wall", (102, 102, 156), 12),
    ("fence", (190, 153, 153), 13),
    ("pole", (153, 153, 153), 17),
    ("traffic light", (250, 170, 30), 19),
    ("traffic sign", (220, 220, 0), 20),
    ("vegetation", (107, 142, 35), 21),
    ("terrain", (152, 251, 152), 22),
    ("sky", (70, 130, 180), 23),
    ("person", (220, 20, 60), 24),
    ("rider", (255, 0, 0), 25),
    ("car", (0, 0, 142), 26),
    ("truck", (0, 0, 70), 27),
    ("bus", (0, 60, 100), 28),
    ("train", (0, 80, 100), 31),
    ("motorcycle", (0, 0, 230), 32),
    ("bicycle", (119, 11, 32), 33),
)

# The 16 classes SYNTHIA has, and the 13 on which most papers and Cross-City score, as Cityscapes train ids.
SYNTHIA_16_TRAIN_IDS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18)
CROSS_CITY_13_TRAIN_IDS = (0, 1, 2, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18)
CROSS_CITY = _subset("cross-city", CITYSCAPES, CROSS_CITY_13_TRAIN_IDS)
SYNTHIA = _subset("synthia", CITYSCAPES, SYNTHIA_16_TRAIN_IDS)

# CamVid in the 11-class form of SegNet; label id 11 is "unlabelled". Colours are SegNet's.
CAMVID = _label_set(
    "camvid",
    ("sky", (128, 128, 128), 0),
    ("building", (128, 0, 0), 1),
    ("pole", (192, 192, 128), 2),
    ("road", (128, 64, 128), 3),
    ("pavement", (60, 40, 222), 4),
    ("tree", (128, 128, 0), 5),
    ("sign symbol", (192, 128, 128), 6),
    ("fence", (64, 64, 128), 7),
    ("car", (64, 0, 128), 8),
    ("pedestrian", (64, 64, 0), 9),
    ("bicyclist", (0, 128, 192), 10),
)

LABEL_SETS: Mapping[str, LabelSet] = {s.name: s for s in (CITYSCAPES, CROSS_CITY, SYNTHIA, CAMVID)}

# Classes on which papers score, by the name of the subset: label set, dash, number of classes.
SUBSETS: Mapping[str, tuple[str, ...]] = {
    "cityscapes-16": SYNTHIA.names,
    "cityscapes-13": CROSS_CITY.names,
    "camvid-10": tuple(name for name in CAMVID.names if name != "bicyclist"),
}


def _label_ids(label_set: LabelSet, id_map: Mapping[int, int], count: int) -> LabelIds:
    """A data set that defines the label ids 0 .. count - 1."""
    return LabelIds(label_set.name, id_map, frozenset(range(count)) - frozenset(id_map))


# SYNTHIA-RAND-CITYSCAPES' own numbers of Cityscapes' classes, in the order of their train ids (its README lists
# 0 void .. 22 lane marking). It numbers terrain, truck and train (16, 18, 20) and has no pixel of them.
_SYNTHIA_LABEL_IDS = (3, 4, 2, 21, 5, 7, 15, 9, 6, 16, 1, 10, 17, 8, 18, 19, 20, 12, 11)

CITYSCAPES_IDS = _label_ids(CITYSCAPES, CITYSCAPES.id_map, 34)
GTA5_IDS = _label_ids(CITYSCAPES, CITYSCAPES.id_map, 35)  # Cityscapes' numbers, and 34 for licence plates (there -1)
SYNTHIA_IDS = _label_ids(CITYSCAPES, {label_id: i for i, label_id in enumerate(_SYNTHIA_LABEL_IDS)}, 23)
CROSS_CITY_IDS = _label_ids(CROSS_CITY, CROSS_CITY.id_map, 34)
CAMVID_IDS = _label_ids(CAMVID, CAMVID.id_map, 12)
OFFICIAL_IDS = {
    "cityscapes": CITYSCAPES_IDS,
    "cross-city": CROSS_CITY_IDS,
    "synthia": _label_ids(SYNTHIA, SYNTHIA.id_map, 34),
    "camvid": CAMVID_IDS,
}
"""By label set: the numbers of its official label files, those that mean no class included."""

# Where a segmenter with one label set is scored on a data set with another, or trained on its labels:
# (from, to) -> the train id in `to` of each train id in `from`.
_CITYSCAPES_TO_CAMVID = (3, 4, 1, 1, 7, 2, 6, 6, 5, 5, 0, 9, 10, 8, 8, 8, 8, 10, 10)
_TRANSLATIONS: Mapping[tuple[str, str], tuple[int, ...]] = {
    ("cityscapes", "camvid"): _CITYSCAPES_TO_CAMVID,
    ("cross-city", "camvid"): tuple(_CITYSCAPES_TO_CAMVID[i] for i in CROSS_CITY_13_TRAIN_IDS),
    ("synthia", "camvid"): tuple(_CITYSCAPES_TO_CAMVID[i] for i in SYNTHIA_16_TRAIN_IDS),
    **{(a.name, b.name): _by_name(a, b) for a, b in permutations((CITYSCAPES, CROSS_CITY, SYNTHIA), 2)},
}


def find_label_set(name: str) -> LabelSet:
    """The label set called `name`; a comma-separated list of class names ("road,sky,car") is one by itself.

    Listed classes have their colour in Cityscapes or CamVid, else one of their own, and label ids as train ids.
    Raises ValueError, naming the sets there are.
    """
    if name in LABEL_SETS:
        return LABEL_SETS[name]
    names = name.split(",")
    if len(names) < 2 or any(n != n.strip() or not n for n in names):
        raise ValueError(f"{name!r} is neither one of {', '.join(LABEL_SETS)} nor class names as in road,sky,car")
    if len(set(names)) != len(names) or len(names) >= IGNORE_ID:
        raise ValueError(f"class names must differ, and be fewer than {IGNORE_ID}: {name!r}")
    known = {c.name: c.color for c in (*CAMVID.classes, *CITYSCAPES.classes)}
    colors: list[tuple[int, int, int]] = []
    for class_name in names:
        wished = [known[class_name]] if class_name in known else []
        colors.append(next(c for c in (*wished, *_HUES) if c not in colors))
    return _label_set(name, *((n, color, i) for i, (n, color) in enumerate(zip(names, colors, strict=True))))


# 2 * 254 colours that can be told apart one after another: steps of the golden ratio around the wheel.
_HUES = tuple(
    (round(255 * red), round(255 * green), round(255 * blue))
    for red, green, blue in (
        hsv_to_rgb(i * 0.618034 % 1, 1 - 0.13 * (i % 4), 1 - 0.17 * (i % 3)) for i in range(2 * IGNORE_ID)
    )
)


def translation(predicted: str, scored: str) -> NDArray[np.uint8]:
    """(256,) uint8 table from train ids of label set `predicted` to train ids of label set `scored`.

    Lists of class names are translated by name. Raises ValueError, naming the pairs there are, where no translation
    is known, or no name is in both.
    """
    ours, theirs = find_label_set(predicted), find_label_set(scored)
    if predicted == scored:
        return lookup_table({i: i for i in range(len(ours))})
    row = _TRANSLATIONS.get((predicted, scored))
    if row is None and {predicted, scored} - LABEL_SETS.keys() and set(ours.names) & set(theirs.names):
        row = _by_name(ours, theirs)
    if row is None:
        known = ", ".join(f"{a} -> {b}" for a, b in _TRANSLATIONS)
        raise ValueError(f"no translation from {predicted!r} classes to {scored!r} classes; known: {known}")
    return lookup_table(dict(enumerate(row)))
