"""A run's folder: config.yaml, checkpoints/, scalars.csv, tensorboard/, previews/, metrics.json."""

import json
import math
import platform
import shlex
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from adaptseg_serve import __version__
from adaptseg_serve.errors import ConfigError
from adaptseg_training.checkpoint import (
    BEST,
    FOLDER,
    GENERATOR,
    PREFIX,
    RECORD,
    TRAINING,
    last_checkpoint,
    read_record,
    saved_checkpoints,
)
from adaptseg_training.config import TrainConfig
from adaptseg_training.errors import TrainingError
from adaptseg_training.files import (
    make_folder_atomically,
    point_to,
    remove_folder,
    remove_scraps,
    write_atomically,
    writing,
)
from adaptseg_training.lock import NAME as LOCK
from adaptseg_training.parsing import to_settings

DIVERGED = "diverged_"


@dataclass(frozen=True)
class Run:
    """An opened run. What it was started and resumed with is written into every checkpoint."""

    path: Path
    config: TrainConfig
    preset: str
    command: str
    resumed: tuple[str, ...] = ()
    """The commands that went on with it, oldest first."""

    def save(
        self,
        step: int,
        generator: dict[str, Tensor],
        training: dict[str, Any],
        prefix: str = PREFIX,
    ) -> Path:
        """Write the checkpoint of `step`, whole or not at all, and drop those no longer kept.

        An existing one is left as it is: its steps gave the same. A diverged one is replaced.
        """
        folder = self._folder(step, prefix)

        def fill(place: Path) -> None:
            save_file({k: v.detach().contiguous() for k, v in generator.items()}, place / GENERATOR)
            torch.save(training, place / TRAINING)
            (place / RECORD).write_text(json.dumps(self._record(step), indent=2), encoding="utf-8")

        try:
            if prefix == DIVERGED and folder.exists():
                remove_folder(folder)
            make_folder_atomically(folder, fill)
            self._drop_old()
        except (OSError, RuntimeError, SafetensorError) as error:
            raise TrainingError(
                f"step {step} can't be saved to {folder}: {error}. "
                f"The last whole checkpoint is {last_checkpoint(self.path)}; make room, then: {self.resume_command}"
            ) from error
        return folder

    def recover(self) -> None:
        """Finish what a killed process left undone: call it once the run is locked, before anything is read."""
        folder = self.path / FOLDER
        remove_scraps(self.path)
        remove_scraps(folder)
        saved = saved_checkpoints(self.path)
        for checkpoint in saved:  # the kill may have come between a checkpoint's rename and its marking as best
            self._mark_best(checkpoint, read_record(checkpoint)["metrics"])
        if not saved:  # a run that never saved starts anew, and so do its records
            for name in ("tensorboard", "previews"):
                shutil.rmtree(self.path / name, ignore_errors=True)
            for name in ("scalars.csv", "metrics.json"):
                (self.path / name).unlink(missing_ok=True)
        (self.path / "previews").mkdir(exist_ok=True)

    def withdraw(self) -> None:
        """Leave no folder of a run that could not begin. One that holds anything stays."""
        (self.path / LOCK).unlink(missing_ok=True)
        with suppress(OSError):
            for folder in (self.path / FOLDER, self.path / "previews", self.path):
                folder.rmdir()

    @property
    def resume_command(self) -> str:
        """What goes on with this run, quoted for a shell."""
        return shlex.join(["adaptseg-train", "--run.resume", str(self.path)])

    def write_config(self) -> None:
        """config.yaml, which a resume reads: not before the settings are known to fit what is to be resumed."""
        settings = to_settings(replace(self.config, run=replace(self.config.run, resume=None)))
        header = "".join(f"# {line}\n" for line in (self.command, *self.resumed))
        write_atomically(self.path / "config.yaml", (header + yaml.safe_dump(settings, sort_keys=False)).encode())

    def record_metrics(self, step: int, metrics: dict[str, Any]) -> None:
        """Append an evaluation to metrics.json, in place of those of this and later steps."""
        path = self.path / "metrics.json"
        earlier = json.loads(path.read_bytes())["evaluations"] if path.is_file() else []
        evaluations = [e for e in earlier if e["step"] < step] + [{"step": step, **metrics}]
        measure = self.config.run.select
        best = max(evaluations, key=lambda e: score_of(e, measure))
        content = {"best_step": best["step"], f"best_{measure}": best.get(measure), "evaluations": evaluations}
        write_atomically(path, json.dumps(content, indent=2).encode())

    def record_score(self, step: int, metrics: dict[str, Any]) -> None:
        """Write an evaluation of the saved checkpoint of `step` into it, and point to it if it is the best."""
        folder = self._folder(step)
        with writing(folder):
            record = {**read_record(folder), "metrics": metrics}
            write_atomically(folder / RECORD, json.dumps(record, indent=2).encode())
            self._mark_best(folder, metrics)
            self._drop_old()

    def score_of(self, step: int) -> dict[str, Any]:
        """What `record_score` wrote into the checkpoint of `step`; nothing if it was not scored."""
        return dict(read_record(self._folder(step))["metrics"])

    def _folder(self, step: int, prefix: str = PREFIX) -> Path:
        return self.path / FOLDER / f"{prefix}{step:08d}"

    def _record(self, step: int) -> dict[str, Any]:
        return {
            "step": step,
            "preset": self.preset,
            "command": self.command,
            "resumed": list(self.resumed),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {"adaptseg": __version__, "torch": torch.__version__, "python": platform.python_version()},
            "metrics": {},
            "config": to_settings(self.config),
        }

    def _mark_best(self, folder: Path, metrics: dict[str, Any]) -> None:
        best = self.path / FOLDER / BEST
        measure = self.config.run.select
        if metrics.get(measure) is None:
            return
        if not best.exists() or score_of(metrics, measure) > score_of(read_record(best)["metrics"], measure):
            point_to(best, folder)

    def _drop_old(self) -> None:
        best = (self.path / FOLDER / BEST).resolve()
        for folder in saved_checkpoints(self.path)[: -self.config.run.keep]:
            if folder.resolve() != best:
                remove_folder(folder)


def score_of(metrics: dict[str, Any], measure: str) -> float:
    """What `metrics` say of `measure`; less than any score where they say nothing."""
    score = metrics.get(measure)
    return -math.inf if score is None else float(score)


def open_run(config: TrainConfig, preset: str, command: str) -> Run:
    """Make the folder of a new run, or open the one to resume."""
    try:
        path = config.run.resume or _new_folder(config, preset)
    except OSError as error:
        raise ConfigError(f"--run.dir {config.run.dir} can't be used: {error}.") from error
    resumed: tuple[str, ...] = ()
    if config.run.resume is not None and (last := last_checkpoint(path)) is not None:
        record = read_record(last)
        resumed = (*record.get("resumed", []), command)
        preset, command = str(record["preset"]), str(record["command"])
    try:
        (path / FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} can't be used for the run: {error}.") from error
    return Run(path, config, preset, command, resumed)


def _new_folder(config: TrainConfig, preset: str) -> Path:
    """runs/NAME; a run without a name is called as its preset, with a number from the second on."""
    if config.run.name:
        path = config.run.dir / config.run.name
        if saved_checkpoints(path):
            raise ConfigError(
                f"{path} holds a run already. Go on with it (adaptseg-train --run.resume {shlex.quote(str(path))}) "
                "or choose another --run.name."
            )
        return path
    stem, number = Path(preset).stem or "run", 1
    path = config.run.dir / stem
    config.run.dir.mkdir(parents=True, exist_ok=True)
    while not _made(path):
        number += 1
        path = config.run.dir / f"{stem}-{number}"
    return path


def _made(path: Path) -> bool:
    """Make folder `path`; False if there is one, perhaps since a moment ago, of a run started together with this."""
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True
