"""A picture of a data set: some images, each beside its label map."""

from pathlib import Path

import numpy as np

from adaptseg_serve.labels import find_label_set
from adaptseg_training.config import DomainConfig
from adaptseg_training.data.domains import open_domain
from adaptseg_training.data.sample import Image, Sample
from adaptseg_training.files import write_atomically
from adaptseg_training.preview import color_label_map, fit_height, legend, png, stack

_HEIGHT = 240


def write_contact_sheet(out: Path, data: DomainConfig, rows: int) -> None:
    """PNG at `out`: `rows` images spread evenly over the data set, label maps beside them where there are any."""
    images = open_domain(data, "data")
    picks = np.linspace(0, len(images) - 1, min(rows, len(images))).astype(int)
    strips = [_strip(images[int(i)], images.label_set) for i in picks]
    if images.label_set is not None:
        strips.append(legend(find_label_set(images.label_set), max(s.shape[1] for s in strips)))
    write_atomically(out, png(stack(strips)))


def _strip(sample: Sample, label_set: str | None) -> Image:
    image = fit_height(sample.image, _HEIGHT)
    if sample.label_map is None or label_set is None:
        return image
    return np.hstack([image, fit_height(color_label_map(sample.label_map, find_label_set(label_set)), _HEIGHT)])
