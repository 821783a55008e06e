"""DATASET ROOT SPLIT of the command line -> the images. Needs the extra `train`, whose data sets are torch's."""

from pathlib import Path

from adaptseg_export.options import Labelled
from adaptseg_serve.errors import ConfigError
from adaptseg_training.config import DomainConfig, data_name
from adaptseg_training.data.domains import bounded, open_domain
from adaptseg_training.data.sample import ImageSet


def open_labelled(labelled: Labelled, name: str) -> ImageSet:
    """The images of `labelled`; errors call it `name` (score, calibrate), as the flags do."""
    dataset, root, _ = labelled
    split = _split(labelled)
    if dataset != "streets":
        return open_domain(DomainConfig(dataset, (root,), split), name)
    if root != Path("-"):
        raise ConfigError(f"--{name} streets {root}: streets are drawn and have no folder; ROOT must be - for them.")
    return open_domain(bounded(DomainConfig(dataset, split=split)), name)


def name_of(labelled: Labelled) -> str:
    """What the bundle's records call it: camvid/val, own."""
    return data_name(labelled[0], _split(labelled))


def _split(labelled: Labelled) -> str:
    return "" if labelled[2] == "-" else labelled[2]
