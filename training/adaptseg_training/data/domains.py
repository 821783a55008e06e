"""DomainConfig -> the data set it describes."""

from dataclasses import replace
from pathlib import Path

from torch.utils.data import Dataset

from adaptseg_serve.errors import ConfigError
from adaptseg_training.config import DomainConfig
from adaptseg_training.data.augment import MAX_ZOOM
from adaptseg_training.data.cityscapes import list_cityscapes
from adaptseg_training.data.cross_city import list_cross_city
from adaptseg_training.data.folders import list_camvid, list_synthetic_streets
from adaptseg_training.data.frames import Frames
from adaptseg_training.data.gta5 import list_gta5
from adaptseg_training.data.listing import ListedImages, Listing
from adaptseg_training.data.own import list_own
from adaptseg_training.data.rendered import DEFAULT_COUNT, SCORED_COUNT, RenderedStreets
from adaptseg_training.data.sample import ImageSet, Sample
from adaptseg_training.data.streets import LEAST_SIDE
from adaptseg_training.data.synscapes import list_synscapes
from adaptseg_training.data.synthia import list_synthia
from adaptseg_training.ranges import check_domain_ranges

WITH_VAL = ("camvid", "cityscapes")
"""Data sets with a split that is there to be scored on."""


class Part(Dataset[Sample]):
    """Images `first`, `first + every`, ... of a data set, at most `count` of them (0: all)."""

    def __init__(self, images: ImageSet, first: int, every: int, count: int) -> None:
        self.label_set = images.label_set
        self._images = images
        self._indices = range(len(images))[first::every][: count or None]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        return self._images[self._indices[index]]


def open_domain(domain: DomainConfig, name: str) -> ImageSet:
    """The images of `domain`; errors call it `name` (source, target, evaluate), as the flags do."""
    check_domain(domain, name)
    # Frames leave out by themselves: videos are read at once, and what is left out is not to fill the memory.
    first, every = (0, 1) if domain.dataset == "frames" else (domain.first, domain.every)
    part = Part(_open_whole(domain, name), first, every, domain.count)
    if not len(part):
        raise ConfigError(f"--{name}.first {domain.first} leaves no image of the {domain.dataset} data set.")
    return part


def check_domain(domain: DomainConfig, name: str) -> None:
    """ConfigError for what is wrong in `domain` whatever files there are."""
    check_domain_ranges(domain, name)
    if domain.skip_unreadable and name not in ("source", "target"):
        raise ConfigError(f"--{name}.skip-unreadable: only training can do without a file; mend it or remove it.")
    if domain.augment and name not in ("source", "target"):
        raise ConfigError(f"--{name}.augment: only training images are augmented; leave it out.")
    if domain.dataset != "streets" and not domain.root:
        raise ConfigError(f"--{name}.root is not set: where is the {domain.dataset} data set?")
    if domain.dataset == "streets" and domain.root:
        raise ConfigError(
            f"--{name}.root {domain.root[0]}: streets are drawn and have no folder. Say what lies there: "
            f"--{name}.dataset frames (images and videos without labels), camvid, cityscapes, ..."
        )


def to_score(domain: DomainConfig) -> DomainConfig:
    """`domain` with what it leaves open said as scoring wants it: val where there is one; of the renderer's endless
    streets, a few."""
    if domain.dataset == "streets" and not domain.count:
        return replace(domain, count=SCORED_COUNT)
    return replace(domain, split="val") if domain.dataset in WITH_VAL and not domain.split else domain


def _open_whole(domain: DomainConfig, name: str) -> ImageSet:
    match domain.dataset:
        case "streets":
            looks = tuple(look.strip() for look in (domain.split or "day").split(","))
            count = domain.first + domain.every * (domain.count or DEFAULT_COUNT)
            return RenderedStreets(looks, _drawn_size(domain, name), count)
        case "frames":
            return Frames(domain.root, domain.first, domain.every, domain.count, name)
        case _:
            return ListedImages(list_domain(domain, name))


def _drawn_size(domain: DomainConfig, name: str) -> tuple[int, int]:
    """Streets to be cropped are drawn larger, so that the smallest crop is as sharp as a camera's."""
    scale = MAX_ZOOM if domain.augment else 1.0
    size = round(scale * domain.size[0]), round(scale * domain.size[1])
    if min(size) < LEAST_SIDE:
        raise ConfigError(
            f"--{name}.size {domain.size[0]} {domain.size[1]}: streets are drawn {LEAST_SIDE} x {LEAST_SIDE} or larger."
        )
    return size


def list_domain(domain: DomainConfig, name: str) -> Listing:
    """The files of a data set of files with an own layout. ConfigError where that layout isn't found."""
    root, split = _single_root(domain, name), domain.split
    match domain.dataset:
        case "camvid":
            return list_camvid(root, split)
        case "synthetic_streets":
            return list_synthetic_streets(root)
        case "gta5":
            return list_gta5(root, split)
        case "synthia":
            return list_synthia(root, split)
        case "synscapes":
            return list_synscapes(root, split)
        case "cityscapes":
            return list_cityscapes(root, split)
        case "cross_city":
            return list_cross_city(root, split)
        case "own":
            return list_own(root, split)
        case other:
            raise ConfigError(f"{other} is not a data set of files with a layout of its own.")


def _single_root(domain: DomainConfig, name: str) -> Path:
    if len(domain.root) != 1:
        raise ConfigError(
            f"--{name}.root: the {domain.dataset} data set has one folder, {len(domain.root)} were given."
        )
    return domain.root[0]
