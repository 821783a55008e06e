"""How far a score is from an oracle's, trained with the target's labels: the mIoU gap of the paper's Tables 2 and 5."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adaptseg_serve.errors import ConfigError
from adaptseg_training.evaluate import rounded

Summary = dict[str, Any]
Score = Callable[[Summary], Summary]
"""Our whole result -> the oracle's."""
_COMPARED = ("label_set", "images", "at", "data")
"""What two results must have in common."""


def read_result(path: Path) -> Summary:
    """The result.json that an earlier evaluation wrote. ConfigError if it is none."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--oracle {path} can't be read: {error}.") from error
    if not isinstance(result, dict) or not {"model", "miou", "miou_over", "iou", *_COMPARED} <= result.keys():
        raise ConfigError(f"--oracle {path} is not the result.json of adaptseg-evaluate --out.")
    return result


def open_oracle(path: Path, ours: Summary, score: Callable[[Path], Score]) -> Score:
    """What gives the oracle's result, on the images that `ours` is of: `score(path)` for a checkpoint or a bundle.

    For a result.json it gives the file's content, once that is known to be comparable: with what is in `ours` now,
    before the images are scored, and with all of it when it is called.
    """
    if path.suffix != ".json" or path.is_dir():
        return score(path)
    oracle = read_result(path)
    check_comparable(path, oracle, ours)

    def content(whole: Summary) -> Summary:
        check_comparable(path, oracle, whole)
        return oracle

    return content


def check_comparable(path: Path, oracle: Summary, ours: Summary) -> None:
    """ConfigError if `oracle`, read from `path`, is of other images, or counted otherwise, than what `ours` says."""
    for field in _COMPARED:
        if field in ours and oracle[field] != ours[field]:
            raise ConfigError(
                f"--oracle {path} was scored with {field} {oracle[field]}, this with {ours[field]}: not comparable. "
                "Give the oracle's checkpoint or bundle, to have it scored on these images."
            )


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
