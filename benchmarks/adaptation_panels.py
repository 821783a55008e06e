"""The before/after panels of adaptation.py: one image a line, then the truth and what each row makes of it."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from adaptseg_training.data.sample import Image, ImageSet
from adaptseg_training.evaluate import Scorer, scorer
from adaptseg_training.preview import FONT, fit_height, jpeg, legend, stack
from adaptseg_training.subjects import open_subject

HEIGHT, CAPTION = 150, 18


def draw_panels(checkpoints: Mapping[str, Path], images: ImageSet, path: Path, count: int = 4) -> None:
    """A JPEG of `count` images spread evenly over `images`; a column for each row of the table, in its order."""
    asked = {row: _scorer(checkpoint, images) for row, checkpoint in checkpoints.items()}
    labels = next(iter(asked.values())).labels
    strips = [_words(["image", "truth", *asked], fit_height(images[0].image, HEIGHT).shape[1])]
    strips += [_line(asked, images, int(index)) for index in np.linspace(0, len(images) - 1, count)]
    path.write_bytes(jpeg(stack([*strips, legend(labels, strips[0].shape[1])])))


def _scorer(checkpoint: Path, images: ImageSet) -> Scorer:
    subject = open_subject(checkpoint)
    return scorer(subject.predictor, subject.spec, subject.label_set, images)


def _line(asked: Mapping[str, Scorer], images: ImageSet, index: int) -> Image:
    sample = images[index]
    answers = [ask(sample) for ask in asked.values()]
    colors = next(iter(asked.values())).labels.palette()
    maps = [colors[answers[0][0]], *(colors[predicted] for _, predicted in answers)]
    return np.hstack([fit_height(sample.image, HEIGHT), *(_shrink(each) for each in maps)])


def _shrink(colored: Image) -> Image:
    """Nearest neighbours, so that no colour is mixed."""
    size = (round(colored.shape[1] * HEIGHT / colored.shape[0]), HEIGHT)
    return np.asarray(cv2.resize(colored, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _words(words: list[str], width: int) -> Image:
    strip = np.full((CAPTION, width * len(words), 3), 255, np.uint8)
    for column, word in enumerate(words):
        cv2.putText(strip, word, (column * width + 4, 13), FONT, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return strip
