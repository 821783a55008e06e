"""Pictures for people: target image | prediction, one row each, above a legend of the classes."""

from collections.abc import Sequence

import cv2
import numpy as np

from adaptseg_serve.labels import LabelMap, LabelSet
from adaptseg_serve.predictor import Predictor
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.data.sample import Image, ImageSet
from adaptseg_training.errors import DataError

_ROW_HEIGHT = 240
_SWATCH, _CELL = 14, 130
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_previews(predictor: Predictor, spec: PreprocessSpec, labels: LabelSet, images: ImageSet, rows: int) -> Image:
    """(H, W, 3) uint8 RGB: `rows` images spread evenly over the data set, each beside its predicted label map."""
    strips = []
    for index in np.linspace(0, len(images) - 1, min(rows, len(images))).astype(int):
        try:
            image = images[int(index)].image
        except DataError:  # training meets the file as well: it names it, and ends or skips it as the flags say
            continue
        shown = fit_height(image, _ROW_HEIGHT)
        label_map = predictor.predict(spec.resize_image(image)[None], [(shown.shape[0], shown.shape[1])])[0]
        strips.append(np.hstack([shown, labels.palette()[label_map]]))
    return stack([*strips, legend(labels, max([s.shape[1] for s in strips], default=2 * _ROW_HEIGHT))])


def fit_height(image: Image, height: int) -> Image:
    """`image` scaled to `height`, its aspect ratio kept."""
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def color_label_map(label_map: LabelMap, labels: LabelSet) -> Image:
    """(H, W, 3) uint8 RGB in the class colours, black where ignored."""
    return labels.palette()[label_map]


def legend(labels: LabelSet, width: int) -> Image:
    """A strip of colour swatches and class names, as many to a row as `width` pixels hold."""
    columns = max(1, width // _CELL)
    rows = -(-len(labels) // columns)
    strip = np.full((rows * 2 * _SWATCH, width, 3), 255, np.uint8)
    for c in labels.classes:
        row, column = divmod(c.train_id, columns)
        x, y = column * _CELL + 4, row * 2 * _SWATCH + _SWATCH // 2
        strip[y : y + _SWATCH, x : x + _SWATCH] = c.color
        cv2.putText(strip, c.name, (x + _SWATCH + 4, y + _SWATCH - 3), FONT, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return strip


def stack(strips: Sequence[Image]) -> Image:
    """Strips one under another, padded with white to the widest."""
    width = max(s.shape[1] for s in strips)
    padded = [np.pad(s, ((0, 2), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips]
    return np.vstack(padded)


def png(image: Image) -> bytes:
    """PNG bytes of an (H, W, 3) uint8 RGB image."""
    return bytes(cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1])


def jpeg(image: Image) -> bytes:
    """JPEG bytes, quality 92, of an (H, W, 3) uint8 RGB image."""
    return bytes(cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 92])[1])
