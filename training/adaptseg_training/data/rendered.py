"""Streets drawn on the fly by the project's own renderer: labelled, endless, and free of any licence."""

from collections.abc import Sequence

from torch.utils.data import Dataset

from adaptseg_serve.errors import ConfigError
from adaptseg_training.data.sample import Sample
from adaptseg_training.data.streets import LOOKS, render_street

DEFAULT_COUNT, SCORED_COUNT = 100_000, 200
"""Streets there are, and those to score on, where no count is given."""


class RenderedStreets(Dataset[Sample]):
    """Street number `index` is drawn from seed `index`; looks take turns."""

    label_set: str | None = "cityscapes"

    def __init__(self, looks: Sequence[str], size: tuple[int, int], count: int = DEFAULT_COUNT) -> None:
        unknown = sorted(set(looks) - set(LOOKS))
        if unknown or not looks:
            raise ConfigError(f"unknown look {', '.join(unknown) or '(none given)'}; there are {', '.join(LOOKS)}.")
        self._looks, self._size, self._count = tuple(looks), size, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        look = self._looks[index % len(self._looks)]
        image, label_map = render_street(index, look=look, size=self._size)
        return Sample(f"street {index} ({look})", image, label_map)
