"""Scores of the finished graph on labelled images, beside another checkpoint's."""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptseg_export.labelled import name_of, open_labelled
from adaptseg_export.options import ExportOptions
from adaptseg_export.writer import Record, write_bundle
from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.labels import LabelMap
from adaptseg_serve.predictor import Predictor, Scored, Size, load_predictor
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_serve.reference import Reference, Window, figures_of
from adaptseg_training.checkpoint import load_checkpoint, load_generator
from adaptseg_training.data.sample import ImageSet
from adaptseg_training.devices import choose_device
from adaptseg_training.evaluate import evaluate, scorer
from adaptseg_training.generator_predictor import GeneratorPredictor
from adaptseg_training.models.generator import preprocess_spec


def score(options: ExportOptions, model: Path, record: Record) -> Record:
    """`record` with what `--score` measures of the graph: `metrics` by "dataset/split", and its `reference` there."""
    if options.score is None:
        return record
    data = name_of(options.score)
    images = open_labelled(options.score, "score")
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "bundle"
        write_bundle(bundle, model, record)
        graph = Remembering(load_predictor(open_bundle(bundle)), len(record.labels), len(images))
        result = _score(graph, record.preprocess, record.labels.name, images)
    if options.baseline is not None:
        result["baseline"] = _baseline(options.baseline, record.preprocess.size, images)
    reference = Reference(data, len(images), graph.window.mean())
    return dataclasses.replace(record, metrics={data: result}, reference=reference)


class Remembering:
    """A Predictor that answers as `predictor` does and keeps the figures of its images."""

    def __init__(self, predictor: Predictor, classes: int, images: int) -> None:
        self._predictor, self.window = predictor, Window(classes, images)

    @property
    def runtime(self) -> str:
        return self._predictor.runtime

    def predict(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[LabelMap]:
        return [scored.label_map for scored in self.predict_scored(images, sizes)]

    def predict_scored(self, images: NDArray[np.uint8], sizes: Sequence[Size]) -> list[Scored]:
        answers = self._predictor.predict_scored(images, sizes)
        for scored in answers:
            self.window.add(figures_of(scored.label_map, scored.logits))
        return answers


def _baseline(path: Path, size: tuple[int, int], images: ImageSet) -> dict[str, Any]:
    checkpoint = load_checkpoint(path)
    spec = preprocess_spec(checkpoint.config.generator, size)
    predictor = GeneratorPredictor(load_generator(checkpoint), spec, choose_device("cpu"))
    scored = _score(predictor, spec, checkpoint.config.label_set, images)
    return {"preset": checkpoint.preset, "step": checkpoint.step, **scored}


def _score(predictor: Predictor, spec: PreprocessSpec, label_set: str, images: ImageSet) -> dict[str, Any]:
    found = evaluate(scorer(predictor, spec, label_set, images), images)
    return {"runtime": predictor.runtime, "size": list(spec.size), **found.summary()}
