"""DATASET ROOT SPLIT of the command line -> the images. Needs the extra `train`, whose data sets are torch's."""

from pathlib import Path

from adaptseg_export.options import Labelled
from adaptseg_serve.errors import ConfigError
from adaptseg_training.config import DomainConfig
from adaptseg_training.data.domains import bounded, open_domain
from adaptseg_training.data.sample import ImageSet


def open_labelled(labelled: Labelled, name: str) -> ImageSet:
    """The images of `labelled`; errors call it `name` (score, calibrate), as the flags do."""
    dataset, root, split = labelled
    if dataset != "streets":
        return open_domain(DomainConfig(dataset, (root,), split), name)
    if root != Path("-"):
        raise ConfigError(f"--{name} streets {root}: streets are drawn and have no folder; ROOT must be - for them.")
    return open_domain(bounded(DomainConfig(dataset, split=split)), name)
