"""Looking at a run from outside: preview pictures and scores of the generator as it is now."""

from typing import Any

import torch

from adaptseg_serve.labels import find_label_set
from adaptseg_serve.preprocess import PreprocessSpec
from adaptseg_training.adaptation import Adaptation
from adaptseg_training.checkpoint import model_size
from adaptseg_training.data.sample import Image
from adaptseg_training.domains import Domains
from adaptseg_training.evaluate import evaluate, scorer
from adaptseg_training.files import write_atomically
from adaptseg_training.generator_predictor import GeneratorPredictor
from adaptseg_training.label_free import label_free_score
from adaptseg_training.models.generator import preprocess_spec
from adaptseg_training.preview import draw_previews, png
from adaptseg_training.progress import Reporter
from adaptseg_training.run import Run

_PREVIEW_ROWS = 3


def preview(run: Run, adaptation: Adaptation, domains: Domains, device: torch.device, done: int) -> Image:
    """previews/step_XXXXXXXX.png: target images (source images without a target) beside their predictions.

    Returns the picture, (H, W, 3) uint8 RGB.
    """
    predictor = _predictor(run, adaptation, device)
    images = domains.source if domains.target is None else domains.target
    picture = draw_previews(predictor, _spec(run), find_label_set(run.config.label_set), images, _PREVIEW_ROWS)
    write_atomically(run.path / "previews" / f"step_{done:08d}.png", png(picture))
    return picture


def is_scored(run: Run, domains: Domains) -> bool:
    """Is there anything to score on: labelled images, or a target that the best checkpoint is to be selected by?"""
    return domains.evaluate is not None or run.config.run.select == "infomax"


def score(
    run: Run, adaptation: Adaptation, domains: Domains, device: torch.device, done: int, reporter: Reporter
) -> dict[str, Any]:
    """Scores on the `evaluate` images and, if `run.select` wants it, the label-free one on the target.

    They go to the screen and to metrics.json, too. Names are those of Scores.summary and LabelFreeScore.summary.
    """
    metrics: dict[str, Any] = {}
    if domains.evaluate is not None:
        ask = scorer(_predictor(run, adaptation, device), _spec(run), run.config.label_set, domains.evaluate)
        metrics |= evaluate(ask, domains.evaluate).summary()
    if run.config.run.select == "infomax" and domains.target is not None:
        metrics |= label_free_score(adaptation.deployed, _spec(run), domains.target, device).summary()
    run.record_metrics(done, metrics)
    reporter.say(f"step {done}: {_sentence(metrics)}")
    return metrics


def _spec(run: Run) -> PreprocessSpec:
    return preprocess_spec(run.config.generator, model_size(run.config))


def _predictor(run: Run, adaptation: Adaptation, device: torch.device) -> GeneratorPredictor:
    return GeneratorPredictor(adaptation.deployed, _spec(run), device)


def _sentence(metrics: dict[str, Any]) -> str:
    parts = []
    if "miou" in metrics:
        parts.append(f"mIoU {metrics['miou']}  accuracy {metrics['accuracy']}  on {metrics['images']} images")
    if "infomax" in metrics:
        parts.append(f"infomax {metrics['infomax']} on {metrics['target_images']} target images")
    return "   ".join(parts)
