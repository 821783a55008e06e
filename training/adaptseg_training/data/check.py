"""Looks at every file of a data set: what is missing, unreadable, of the wrong size, or holds numbers of no class."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import IGNORE_ID, find_label_set
from adaptseg_training.config import DomainConfig
from adaptseg_training.data.domains import list_domain
from adaptseg_training.data.frames import list_frames
from adaptseg_training.data.listing import Labels, Listing
from adaptseg_training.data.sample import read_image
from adaptseg_training.errors import DataError

Size = tuple[int, int]
Progress = Callable[[int, int], None]
"""Hears how many images are done, of how many."""


class Kind(Enum):
    """What can be wrong: whether training stumbles over it or learns wrong things, and what to do about it."""

    MISSING_LABELS = ("images without a label file", True, "Unpack the label archives again, or remove these images.")
    UNREADABLE = (
        "unreadable files",
        True,
        "Unpack or download these again, or remove them with their image or label file; to train all the same: "
        "--source.skip-unreadable, --target.skip-unreadable.",
    )
    WRONG_SIZE = (
        "label files of another size than their image",
        True,
        "Resize the label files (nearest neighbour), or remove these pairs.",
    )
    UNKNOWN_IDS = (
        "label files with values that mean no class",
        True,
        "These pixels are ignored in training. Are the files this data set's own? In a YAML file of own data, add "
        "the values to ids or colors ('ignore' if that is what they mean).",
    )
    STRAY_LABELS = ("label files without an image", False, "They are not used; unpack the image archives again.")
    STRETCHED = (
        "label files of another size than their image, known in this data set",
        False,
        "They are stretched to their image (nearest neighbour), as the reference code does. Nothing to do.",
    )
    BLANK = ("label files without a pixel of any class", False, "They teach nothing; remove them if you like.")
    EMPTY_CLASS = (
        "classes without a pixel",
        False,
        "They can't be learnt from this data; leave them out of the mean (adaptseg-evaluate --exclude).",
    )

    def __init__(self, title: str, must_mend: bool, advice: str) -> None:
        self.title, self.must_mend, self.advice = title, must_mend, advice


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. `where`: a file, or the name of a class."""

    kind: Kind
    where: str
    what: str = ""


@dataclass
class Findings:
    """What `check` saw."""

    images: int = 0
    label_set: str | None = None
    sizes: Counter[Size] = field(default_factory=Counter)
    """(height, width) of the images, and how many have it."""
    pixels: dict[str, int] = field(default_factory=dict)
    """Labelled pixels by class."""
    problems: list[Problem] = field(default_factory=list)

    @property
    def must_mend(self) -> bool:
        return any(problem.kind.must_mend for problem in self.problems)


@dataclass(frozen=True)
class _Looked:
    """One pair of files: the image's size, its pixels by label id, and what is wrong."""

    size: Size | None
    counts: NDArray[np.int64] | None
    problems: tuple[Problem, ...]


def check(
    data: DomainConfig, workers: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> Findings:
    """Read every file of the data set. ConfigError where its layout isn't found."""
    listing = _listing(data)
    findings = Findings(len(listing.images))
    counts = np.zeros(256, np.int64)
    findings.problems += _without_opening(listing)
    for done, looked in enumerate(_look_at_all(listing, workers), 1):
        findings.problems += looked.problems
        if looked.size is not None:
            findings.sizes[looked.size] += 1
        if looked.counts is not None:
            counts += looked.counts
        progress(done, len(listing.images))
    if listing.labels is not None:
        _count_classes(findings, listing.labels, counts)
    return findings


def _listing(data: DomainConfig) -> Listing:
    match data.dataset:
        case "streets":
            raise ConfigError("streets are drawn on the fly: there are no files to check.")
        case "frames":
            return list_frames(data.root)
        case _:
            return list_domain(data, "data")


def _without_opening(listing: Listing) -> Iterator[Problem]:
    """What the names tell."""
    if (labels := listing.labels) is None:
        return
    for image, path in zip(listing.images, labels.paths, strict=True):
        if path not in labels.present:
            yield Problem(Kind.MISSING_LABELS, str(image), f"there is no {path}")
    for path in sorted(labels.present - frozenset(labels.paths)):
        yield Problem(Kind.STRAY_LABELS, str(path))


def _look_at_all(listing: Listing, workers: int) -> Iterator[_Looked]:
    """Threads suffice: decoding is done outside the interpreter's lock."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        yield from pool.map(lambda index: _look_at(listing, index), range(len(listing.images)))


def _look_at(listing: Listing, index: int) -> _Looked:
    problems: list[Problem] = []
    size, counts = None, None
    image, labels = listing.images[index], listing.labels
    try:
        size = _size(read_image(image))
    except DataError as error:
        problems.append(Problem(Kind.UNREADABLE, str(image), str(error)))
    if labels is not None and labels.paths[index] in labels.present:
        counts = _look_at_labels(labels, labels.paths[index], size, problems)
    return _Looked(size, counts, tuple(problems))


def _look_at_labels(labels: Labels, path: Path, size: Size | None, problems: list[Problem]) -> NDArray[np.int64] | None:
    """(256,) pixels by label id; None for an unreadable file."""
    try:
        ids = labels.read_ids(path)
    except DataError as error:
        problems.append(Problem(Kind.UNREADABLE, str(path), str(error)))
        return None
    if size is not None and _size(ids) != size:
        kind = Kind.STRETCHED if labels.stretched else Kind.WRONG_SIZE
        problems.append(Problem(kind, str(path), f"{_text(_size(ids))}, its image {_text(size)}"))
    counts = np.bincount(ids.ravel(), minlength=256).astype(np.int64)
    found = np.flatnonzero(counts).tolist()
    if unknown := [i for i in found if i not in labels.ids.known()]:
        problems.append(Problem(Kind.UNKNOWN_IDS, str(path), ", ".join(labels.describe(path, unknown))))
    if not any(i in labels.ids.id_map for i in found):
        problems.append(Problem(Kind.BLANK, str(path)))
    return counts


def _count_classes(findings: Findings, labels: Labels, counts: NDArray[np.int64]) -> None:
    label_set = find_label_set(labels.ids.label_set)
    train_ids = labels.ids.to_train_ids()
    findings.label_set = label_set.name
    for c in label_set.classes:
        findings.pixels[c.name] = int(counts[train_ids == c.train_id].sum())
        if not findings.pixels[c.name]:
            findings.problems.append(Problem(Kind.EMPTY_CLASS, c.name))
    findings.pixels["(ignored)"] = int(counts[train_ids == IGNORE_ID].sum())


def _size(pixels: NDArray[np.uint8]) -> Size:
    return pixels.shape[0], pixels.shape[1]


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
