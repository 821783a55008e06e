"""mIoU of predictors on a labelled data set. Needs the extra `train`, whose data sets are torch's."""

import dataclasses
from collections.abc import Mapping

from adaptseg_export.bounds import MIN_MIOU_RATIO
from adaptseg_export.options import Labelled
from adaptseg_export.verify import REFERENCE, Check
from adaptseg_serve.bundle import Bundle
from adaptseg_serve.predictor import Predictor


def mious(bundle: Bundle, predictors: Mapping[str, Predictor], labelled: Labelled) -> dict[str, float | None]:
    """mIoU (0..1) by runtime on the images of (dataset, root, split)."""
    from adaptseg_export.labelled import open_labelled
    from adaptseg_training.evaluate import evaluate, scorer

    images = open_labelled(labelled, "score")
    found = {}
    for runtime, predictor in predictors.items():
        scores = evaluate(scorer(predictor, bundle.preprocess, bundle.labels.name, images), images)
        found[runtime] = scores.summary()["miou"]
    return found


def score_all(
    bundle: Bundle, predictors: Mapping[str, Predictor], checks: list[Check], labelled: Labelled
) -> list[Check]:
    """`checks` with the mIoU of each; one far below the reference's fails."""
    from adaptseg_export.labelled import name_of

    data, found = name_of(labelled), mious(bundle, predictors, labelled)
    extra = bundle.manifest.get("artifacts", {})
    scored = []
    for check in checks:
        agreement, miou = check.agreement, found[check.agreement.runtime]
        ratio = extra.get(agreement.graph, {}).get("min_miou_ratio", MIN_MIOU_RATIO)
        low = miou is None or miou < ratio * (found[REFERENCE] or 0.0)
        fault = check.fault or (f"mIoU {miou}, the reference has {found[REFERENCE]}" if low else "")
        scored.append(Check(dataclasses.replace(agreement, miou={data: miou}), fault))
    return scored
