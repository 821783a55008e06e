"""DATASET ROOT SPLIT of the command line -> the images. Needs the extra `train`, whose data sets are torch's."""

from pathlib import Path

from adaptseg_export.options import Labelled
from adaptseg_serve.errors import ConfigError
from adaptseg_training.config import DomainConfig, data_name
from adaptseg_training.data.domains import open_domain, to_score
from adaptseg_training.data.sample import ImageSet


def open_labelled(labelled: Labelled, name: str) -> ImageSet:
    """The images of `labelled`; errors call it `name` (score, calibrate), as the flags do."""
    dataset, root, _ = labelled
    if dataset == "streets" and root != Path("-"):
        raise ConfigError(f"--{name} streets {root}: streets are drawn and have no folder; ROOT must be - for them.")
    domain = _domain(labelled)
    return open_domain(to_score(domain) if name == "score" or dataset == "streets" else domain, name)


def name_of(labelled: Labelled) -> str:
    """What the bundle's records call what is scored: camvid/val, own."""
    domain = to_score(_domain(labelled))
    return data_name(domain.dataset, domain.split)


def _domain(labelled: Labelled) -> DomainConfig:
    dataset, root, split = labelled
    return DomainConfig(dataset, () if dataset == "streets" else (root,), "" if split == "-" else split)
