"""The folder that `adaptseg-evaluate --out` writes: result.json, per_class.csv, confusion.png, worst.jpg."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from adaptseg_training.confusion_picture import draw_confusion
from adaptseg_training.data.sample import ImageSet
from adaptseg_training.evaluate import Scorer, Scores, rounded
from adaptseg_training.files import write_atomically
from adaptseg_training.preview import jpeg, png
from adaptseg_training.worst_images import draw_worst


def write_report(
    folder: Path, summary: dict[str, Any], scores: Scores, ask: Scorer, images: ImageSet, worst: int
) -> None:
    """Write all files into `folder`, making it; `worst` images are asked for again for their picture."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "result.json", (json.dumps(summary, indent=2) + "\n").encode())
    write_atomically(folder / "per_class.csv", per_class(scores, summary.get("oracle")).encode())
    write_atomically(folder / "confusion.png", png(draw_confusion(scores.labels.names, scores.matrix)))
    sheet = draw_worst(ask, images, scores, worst)
    if sheet is None:
        (folder / "worst.jpg").unlink(missing_ok=True)  # an earlier evaluation's
    else:
        write_atomically(folder / "worst.jpg", jpeg(sheet))


def per_class(scores: Scores, oracle: dict[str, Any] | None) -> str:
    """CSV: a row for each class; shares 0..1, empty where a class is absent; pixels of the truth and predicted."""
    text = io.StringIO()
    rows = csv.writer(text)
    measured = ("iou", "accuracy", "pixels", "predicted")
    rows.writerow(["train_id", "class", *measured, *(("oracle_iou", "gap") if oracle else ())])
    counts, iou, accuracy = scores.matrix.counts, scores.matrix.iou(), scores.matrix.class_accuracy()
    for c in scores.labels.classes:
        i, gap = c.train_id, [oracle["iou"][c.name], oracle["iou_gap"][c.name]] if oracle else []
        measures = [rounded(float(iou[i])), rounded(float(accuracy[i])), counts[i].sum(), counts[:, i].sum(), *gap]
        rows.writerow([i, c.name, *("" if value is None else value for value in measures)])
    return text.getvalue()
