"""The images that a predictor understands least, for people: image | truth | prediction | errors."""

from pathlib import PurePath

import cv2
import numpy as np

from adaptseg_serve.labels import IGNORE_ID, LabelMap
from adaptseg_serve.preprocess import resize_label_map
from adaptseg_training.data.sample import Image, ImageSet
from adaptseg_training.evaluate import Scorer, Scores
from adaptseg_training.preview import FONT, fit_height, legend, stack

_HEIGHT, _CAPTION = 200, 20
_WRONG = (230, 25, 25)


def draw_worst(ask: Scorer, images: ImageSet, scores: Scores, count: int) -> Image | None:
    """(H, W, 3) uint8 RGB: a row for each of the `count` images of the lowest mIoU, the worst first; None if no
    image has a pixel that counts. Red pixels are wrong, black ones don't count."""
    rows = [_row(ask, images, index, scores.image_mious[index]) for index in scores.worst(count)]
    if not rows:
        return None
    return stack([*rows, legend(scores.labels, max(row.shape[1] for row in rows))])


def _row(ask: Scorer, images: ImageSet, index: int, miou: float) -> Image:
    sample = images[index]
    truth, predicted = ask(sample)
    image = fit_height(sample.image, _HEIGHT)
    truth, predicted = (resize_label_map(each, (_HEIGHT, image.shape[1])) for each in (truth, predicted))
    palette = ask.labels.palette()
    pictures = (image, palette[truth], palette[predicted], error_map(image, truth, predicted))
    caption = np.full((_CAPTION, 4 * image.shape[1], 3), 255, np.uint8)
    words = (f"{PurePath(sample.name).name}  mIoU {100 * miou:.1f} %", "truth", "prediction", "errors in red")
    for column, text in enumerate(words):
        cv2.putText(caption, text, (column * image.shape[1] + 4, 14), FONT, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([caption, np.hstack(pictures)])


def error_map(image: Image, truth: LabelMap, predicted: LabelMap) -> Image:
    """The image in light grey, wrong pixels red, ignored ones black; all (H, W)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    picture = np.repeat((128 + grey // 2)[..., None], 3, axis=2).astype(np.uint8)
    picture[truth != predicted] = _WRONG
    picture[truth == IGNORE_ID] = 0
    return picture
