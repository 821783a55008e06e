"""Scores of the finished graph on labelled images, beside another checkpoint's."""

import tempfile
from pathlib import Path
from typing import Any

from adaptseg_export.options import ExportOptions
from adaptseg_export.writer import Record, write_bundle
from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.errors import ConfigError
from adaptseg_serve.predictor import Predictor, load_predictor
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.checkpoint import load_checkpoint, load_generator
from adaptseg_training.config import DomainConfig
from adaptseg_training.data.domains import open_domain
from adaptseg_training.data.sample import ImageSet
from adaptseg_training.devices import choose_device
from adaptseg_training.evaluate import evaluate, scorer
from adaptseg_training.generator_predictor import GeneratorPredictor
from adaptseg_training.models.generator import preprocess_spec


def scores(options: ExportOptions, model: Path, record: Record) -> dict[str, Any]:
    """What bundle.json holds under `metrics`: by "dataset/split", the graph's scores, and the baseline's if asked."""
    if options.score is None:
        if options.baseline is not None:
            raise ConfigError("--baseline is scored on the images of --score DATASET ROOT SPLIT; give that, too.")
        return {}
    dataset, root, split = options.score
    images = open_domain(DomainConfig(dataset=dataset, root=(root,), split=split), "score")
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "bundle"
        write_bundle(bundle, model, record)
        result = _score(load_predictor(open_bundle(bundle)), record.preprocess, record.labels.name, images)
    if options.baseline is not None:
        result["baseline"] = _baseline(options.baseline, record.preprocess.size, images)
    return {f"{dataset}/{split}": result}


def _baseline(path: Path, size: tuple[int, int], images: ImageSet) -> dict[str, Any]:
    checkpoint = load_checkpoint(path)
    spec = preprocess_spec(checkpoint.config.generator, size)
    predictor = GeneratorPredictor(load_generator(checkpoint), spec, choose_device("cpu"))
    scored = _score(predictor, spec, checkpoint.config.label_set, images)
    return {"preset": checkpoint.preset, "step": checkpoint.step, **scored}


def _score(predictor: Predictor, spec: PreprocessSpec, label_set: str, images: ImageSet) -> dict[str, Any]:
    found = evaluate(scorer(predictor, spec, label_set, images), images)
    return {"runtime": predictor.runtime, "size": list(spec.size), **found.summary()}
