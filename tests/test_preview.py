"""Preview pictures: the network is asked as serving will ask it, and the answer is drawn beside the image."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adaptseg_serve.labels import CITYSCAPES, LabelMap
from adaptseg_serve.predictor import Scored, Size
from adaptseg_serve.preprocess import torchvision_spec
from adaptseg_training.data.sample import Sample
from adaptseg_training.errors import DataError
from adaptseg_training.preview import draw_previews

SPEC = torchvision_spec((512, 1024))


class Lines:
    """White columns a pixel wide, eight pixels apart; the second of the three images is damaged."""

    label_set: str | None = None

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        if index == 1:
            raise DataError("1.png is damaged.")
        image = np.zeros((512, 1024, 3), np.uint8)
        image[:, ::8] = 255
        return Sample(f"{index}.png", image)


class Bright:
    """Road where a column is white, sky elsewhere: what was shrunk on its way has no white any more."""

    runtime = "bright"

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        road, sky = CITYSCAPES.train_id("road"), CITYSCAPES.train_id("sky")
        (image,), ((height, width),) = images, sizes
        white = image[0, np.linspace(0, image.shape[1] - 1, width).round().astype(int), 0] == 255
        return [np.broadcast_to(np.where(white, road, sky).astype(np.uint8), (height, width)).copy()]

    def predict_scored(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[Scored]:
        raise NotImplementedError


def test_the_network_sees_the_image_and_not_its_thumbnail() -> None:
    picture = draw_previews(Bright(), SPEC, CITYSCAPES, Lines(), rows=3)
    prediction = picture[:240, 480:960]
    road = (prediction == CITYSCAPES.palette()[CITYSCAPES.train_id("road")]).all(-1)
    assert 0.05 < road.mean() < 0.3
    assert picture.shape[0] > 2 * 240
    assert (picture[2 * 242 :, :480] == 255).any(), "two rows, then the legend: the damaged image is left out"
