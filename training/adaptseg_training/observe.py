"""Looking at a run from outside: preview pictures and scores of the generator as it is now."""

from typing import Any

import torch

from adaptseg_serve.labels import find_label_set
from adaptseg_training.adaptation import Adaptation
from adaptseg_training.checkpoint import model_size
from adaptseg_training.data.sample import ImageSet
from adaptseg_training.domains import Domains
from adaptseg_training.evaluate import evaluate, scorer
from adaptseg_training.files import write_atomically
from adaptseg_training.generator_predictor import GeneratorPredictor
from adaptseg_training.models.generator import preprocess_spec
from adaptseg_training.preview import draw_previews, png
from adaptseg_training.progress import Reporter
from adaptseg_training.run import Run

_PREVIEW_ROWS = 3


def preview(run: Run, adaptation: Adaptation, domains: Domains, device: torch.device, done: int) -> None:
    """previews/step_XXXXXXXX.png: target images (source images without a target) beside their predictions."""
    spec = preprocess_spec(run.config.generator, model_size(run.config))
    predictor = GeneratorPredictor(adaptation.generator, spec, device)
    images = domains.source if domains.target is None else domains.target
    picture = draw_previews(predictor, spec, find_label_set(run.config.label_set), images, _PREVIEW_ROWS)
    write_atomically(run.path / "previews" / f"step_{done:08d}.png", png(picture))


def score(
    run: Run, adaptation: Adaptation, images: ImageSet, device: torch.device, done: int, reporter: Reporter
) -> dict[str, Any]:
    """Score on the `evaluate` images; the result goes to the screen and to metrics.json, too."""
    spec = preprocess_spec(run.config.generator, model_size(run.config))
    predictor = GeneratorPredictor(adaptation.generator, spec, device)
    metrics = evaluate(scorer(predictor, spec, run.config.label_set, images), images).summary()
    run.record_metrics(done, metrics)
    reporter.say(f"step {done}: mIoU {metrics['miou']}  accuracy {metrics['accuracy']}  on {metrics['images']} images")
    return metrics
