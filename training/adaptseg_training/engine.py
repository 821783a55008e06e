"""The training loop, from top to bottom."""

import math
from contextlib import closing
from typing import Any

import torch

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.labels import LABEL_SETS
from adaptseg_training.adaptation import Adaptation
from adaptseg_training.config import TrainConfig
from adaptseg_training.data.skipping import Skips
from adaptseg_training.domains import Domains, open_domains, step_batches
from adaptseg_training.interrupts import catching_interrupts
from adaptseg_training.memory import keep_freed_memory
from adaptseg_training.observe import preview, score
from adaptseg_training.progress import Reporter
from adaptseg_training.run import Run, open_run
from adaptseg_training.scalars import Scalars
from adaptseg_training.state import diverged, resume, save

OK, FAILED = 0, 1


def train(config: TrainConfig, preset: str, command: str) -> int:
    """Train as `config` says, from its beginning or from the run it resumes; returns the exit code."""
    device = choose_device(config.run.device)
    if device.type == "cpu":
        keep_freed_memory()
    domains = open_domains(config)
    run = open_run(config, preset, command)
    torch.manual_seed(config.run.seed)
    adaptation = Adaptation(config, len(LABEL_SETS[config.label_set]), device)
    start = resume(run, adaptation) if config.run.resume is not None else 0
    run.write_config()
    with Reporter(start, config.run.stop_step, frames_per_step(config), config.run.log_every) as reporter:
        reporter.say(f"run: {run.path}   device: {device}   {domains.describe()}")
        return train_from(start, run, adaptation, domains, device, reporter)


def train_from(
    start: int, run: Run, adaptation: Adaptation, domains: Domains, device: torch.device, reporter: Reporter
) -> int:
    """The steps from `start` on; `done` counts finished steps."""
    pace, stop = run.config.run, run.config.run.stop_step
    if start >= stop:
        reporter.say(f"{run.path} is at step {start} already; to train longer: {run.resume_command} --run.stop-step N")
    skips = Skips(run.config, reporter.say)
    steps = zip(range(start, stop), step_batches(run.config, domains, start, device, skips.add))  # noqa: B905 (one is endless)
    with closing(Scalars(run.path, start)) as scalars, catching_interrupts() as interrupt:
        for step, batches in steps:
            losses = adaptation.step(step, batches)
            done = step + 1
            reporter.advance(done, losses)
            if done % pace.log_every == 0 or done == stop:
                speed = {"frames_per_second": reporter.frames_per_second()}
                scalars.add(done, {**losses, **speed, **skips.scalars()})
            if not all(map(math.isfinite, losses.values())):
                bad = ", ".join(f"{name} is {value}" for name, value in losses.items() if not math.isfinite(value))
                raise diverged(run, adaptation, done, bad)
            if due(done, pace.preview_every, stop):
                preview(run, adaptation, domains, device, done)
            metrics: dict[str, Any] = {}
            if domains.evaluate is not None and due(done, pace.evaluate_every or stop, stop):
                metrics = score(run, adaptation, domains.evaluate, device, done, reporter)
            if metrics or interrupt.name or due(done, pace.checkpoint_every, stop):
                saved = save(run, adaptation, done, metrics)
                reporter.say(f"step {done}: saved {saved}")
            if interrupt.name and done < stop:
                reporter.say(f"{interrupt.name}: stopped after step {done}. Go on with: {run.resume_command}")
                return FAILED
    if skips.summary():
        reporter.say(skips.summary())
    return OK


def due(done: int, every: int, stop: int) -> bool:
    """Is it time, after `done` steps, for what happens `every` so many steps and at the end? Never if 0."""
    return every > 0 and (done % every == 0 or done == stop)


def frames_per_step(config: TrainConfig) -> int:
    """Images that one step sees, both domains together."""
    domains = 1 if config.target is None else 2
    return config.run.batch_size * config.optimiser.accumulate * domains


def choose_device(name: str) -> torch.device:
    """auto is the first CUDA device, or the CPU. ConfigError for a device that isn't there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--run.device {name} can't be used here: {reason}") from error
    return device
