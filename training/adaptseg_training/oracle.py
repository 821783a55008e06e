"""How far a score is from an oracle's, trained with the target's labels: the mIoU gap of the paper's Tables 2 and 5."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adaptseg_serve.errors import ConfigError
from adaptseg_training.evaluate import rounded

Summary = dict[str, Any]
_COMPARED = ("label_set", "images", "at", "data")


def read_result(path: Path) -> Summary:
    """The result.json that an earlier evaluation wrote. ConfigError if it is none."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--oracle {path} can't be read: {error}.") from error
    if not isinstance(result, dict) or not {"model", "miou", "miou_over", "iou", *_COMPARED} <= result.keys():
        raise ConfigError(f"--oracle {path} is not the result.json of adaptseg-evaluate --out.")
    return result


def oracle_summary(path: Path, ours: Summary, score: Callable[[Path], Summary]) -> Summary:
    """`score(path)` for a checkpoint or a bundle; for a result.json its content, if it is of the same images."""
    if path.suffix != ".json" or path.is_dir():
        return score(path)
    oracle = read_result(path)
    for field in _COMPARED:
        if oracle[field] != ours[field]:
            raise ConfigError(
                f"--oracle {path} was scored with {field} {oracle[field]}, this with {ours[field]}: not comparable. "
                "Give the oracle's checkpoint or bundle, to have it scored on these images."
            )
    return oracle


def compare(ours: Summary, oracle: Summary) -> Summary:
    """What result.json holds under `oracle`: its name and scores, and each gap, oracle's minus ours."""
    over = {name: _gap(oracle["miou_over"].get(name), miou) for name, miou in ours["miou_over"].items()}
    return {
        "model": oracle["model"],
        "miou": oracle["miou"],
        "gap": _gap(oracle["miou"], ours["miou"]),
        "miou_over": oracle["miou_over"],
        "gap_over": over,
        "iou": oracle["iou"],
        "iou_gap": {name: _gap(oracle["iou"][name], iou) for name, iou in ours["iou"].items()},
    }


def _gap(oracle: float | None, ours: float | None) -> float | None:
    return None if oracle is None or ours is None else rounded(oracle - ours)
