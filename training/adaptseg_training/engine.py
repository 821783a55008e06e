"""The training loop, from top to bottom. Every rank of a run goes through it in step; rank 0 writes and speaks."""

import math
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass

import torch

from adaptseg_serve.errors import AdaptSegError, ConfigError
from adaptseg_serve.labels import find_label_set
from adaptseg_serve.memory import keep_freed_memory
from adaptseg_training.adaptation import Adaptation
from adaptseg_training.checkpoint import last_checkpoint
from adaptseg_training.config import TrainConfig
from adaptseg_training.data.skipping import Skips
from adaptseg_training.devices import choose_device
from adaptseg_training.domains import Domains, open_domains, step_batches
from adaptseg_training.errors import PeerError, WorkerDied
from adaptseg_training.failures import attempt, end_of_run, observing
from adaptseg_training.interrupts import Interrupt, catching_interrupts, exit_code, name_of
from adaptseg_training.levels import check_adaptation, uses_target
from adaptseg_training.lock import locked
from adaptseg_training.observe import is_scored, preview, score
from adaptseg_training.precision import set_up_arithmetic
from adaptseg_training.progress import Reporter
from adaptseg_training.ranks import Ready, check_alike, step_seed
from adaptseg_training.run import Run, open_run
from adaptseg_training.scalars import Scalars
from adaptseg_training.state import diverged, resume, save
from adaptseg_training.world import World, join, local_rank

OK, FAILED, MISUSED = 0, 1, 2


@dataclass(frozen=True)
class Session:
    """What one process of a run works with."""

    run: Run
    adaptation: Adaptation
    domains: Domains
    device: torch.device
    world: World
    reporter: Reporter


def train(config: TrainConfig, preset: str, command: str) -> int:
    """Train as `config` says, from its beginning or from the run it resumes; returns the exit code.

    0 done, 1 failed, 2 misused, 130 or 143 stopped by SIGINT or SIGTERM. Errors are rank 0's to raise; the other
    ranks return the code.
    """
    device = choose_device(config.run.device, local_rank())
    set_up_arithmetic(config.run, device)
    world = join(device)
    try:
        with ExitStack() as held:
            return _train(config, preset, command, device, world, held)
    except Exception as error:
        world.tell(error)
        if world.is_first or isinstance(error, PeerError) or not isinstance(error, AdaptSegError | OSError):
            raise
        return MISUSED if isinstance(error, ConfigError) else FAILED
    finally:
        world.leave()


def _train(config: TrainConfig, preset: str, command: str, device: torch.device, world: World, held: ExitStack) -> int:
    world.check_batch(config.run.batch_size)
    if device.type == "cpu":
        keep_freed_memory()
    domains = open_domains(config)
    check_adaptation(config)  # before there is a folder
    run = world.first(lambda: _own(config, preset, command, held))
    last = last_checkpoint(run.path)
    torch.manual_seed(config.run.seed)
    classes = len(find_label_set(config.label_set))
    try:
        adaptation = Adaptation(config, classes, device, world=world, initial=last is None)
    except AdaptSegError:  # its weights are not there, or another network's
        if world.is_first:
            run.withdraw()
        raise
    start = resume(run, adaptation) if last is not None else 0
    check_alike(world, start, adaptation.generator, run.path)
    world.first(run.write_config)
    if config.run.compile:
        adaptation.generator.compile(dynamic=False)  # each domain has one size; a second would be compiled for any
    pace = config.run
    reporter = Reporter(start, pace.stop_step, frames_per_step(config), pace.log_every, quiet=not world.is_first)
    with reporter:
        several = f" x {world.size}" if world.size > 1 else ""
        reporter.say(f"run: {run.path}   device: {device}{several}   {domains.describe(config)}")
        return train_from(start, Session(run, adaptation, domains, device, world, reporter))


def _own(config: TrainConfig, preset: str, command: str, held: ExitStack) -> Run:
    """The run, for this process alone until `held` is closed, and cleared of what a killed one left."""
    run = open_run(config, preset, command)
    held.enter_context(locked(run.path))
    run.recover()
    return run


def train_from(start: int, session: Session) -> int:
    """The steps from `start` on; `done` counts finished steps. Returns the exit code."""
    run, world, stop = session.run, session.world, session.run.config.run.stop_step
    done = start
    if start >= stop:
        longer = f"{run.resume_command} --run.stop-step N"
        session.reporter.say(f"{run.path} is at step {start} already; to train longer: {longer}")
    skips = Skips(run.config, session.reporter.say)
    with catching_interrupts(patient=world.size > 1) as interrupt:
        try:
            with closing(Scalars(run.path, start)) if world.is_first else nullcontext() as scalars:
                if scalars is not None and start and _is_scored(start, session) and not run.score_of(start):
                    _score(start, session, scalars, interrupt)  # that evaluation did not come to its end
                ready = Ready(world, interrupt)
                pin = session.device.type == "cuda"
                stream = step_batches(run.config, session.domains, start, pin, ready.skipped.append, world)
                for signal, batches in ready.batches(stream, stop - start, skips.add):
                    if signal:
                        return _stopped(signal, done, session, interrupt)
                    torch.manual_seed(step_seed(run.config.run.seed, done, world.rank))
                    losses = attempt(session.adaptation, done, batches, session.device)
                    done += 1
                    session.reporter.advance(done, losses)
                    if scalars is not None:
                        _record(done, losses, session, scalars, skips, interrupt)
        except (AdaptSegError, OSError) as error:
            if isinstance(error, WorkerDied) and interrupt.number and world.size == 1:  # of the same signal
                return _stopped(interrupt.number, done, session, interrupt)
            if not world.is_first:
                raise
            with interrupt.held():
                raise end_of_run(run, session.adaptation, done, error) from error
    if skips.summary():
        session.reporter.say(skips.summary())
    return OK


def _record(
    done: int, losses: dict[str, float], session: Session, scalars: Scalars, skips: Skips, interrupt: Interrupt
) -> None:
    """Rank 0 after a step: scalars, pictures, scores and checkpoints, as they fall due."""
    run, adaptation, domains = session.run, session.adaptation, session.domains
    pace, stop, device = run.config.run, run.config.run.stop_step, session.device
    if done % pace.log_every == 0 or done == stop:
        speed = {"frames_per_second": session.reporter.frames_per_second()}
        scalars.add(done, {**losses, **speed, **skips.scalars()})
    if not all(map(math.isfinite, losses.values())):
        bad = ", ".join(f"{name} is {value}" for name, value in losses.items() if not math.isfinite(value))
        raise diverged(run, adaptation, done, bad)
    if due(done, pace.preview_every, stop):
        with observing("the preview"):
            scalars.add_picture(done, preview(run, adaptation, domains, device, done))
    scored = _is_scored(done, session)
    if scored or due(done, pace.checkpoint_every, stop):
        _save(done, session, interrupt)
    if scored:  # after the save, for it takes long
        _score(done, session, scalars, interrupt)


def _is_scored(done: int, session: Session) -> bool:
    """Whether the checkpoint of `done` steps is one to be scored."""
    pace = session.run.config.run
    return is_scored(session.run, session.domains) and due(done, pace.evaluate_every or pace.stop_step, pace.stop_step)


def _score(done: int, session: Session, scalars: Scalars, interrupt: Interrupt) -> None:
    """Score the checkpoint of `done` steps, which is saved, and write it down there."""
    with observing("the evaluation"):
        metrics = score(session.run, session.adaptation, session.domains, session.device, done, session.reporter)
    scalars.add_scores(done, metrics)
    with interrupt.held():
        session.run.record_score(done, metrics)


def _stopped(signal: int, done: int, session: Session, interrupt: Interrupt) -> int:
    """The exit code after `signal`; rank 0 has saved before."""
    if session.world.is_first:
        if done:
            _save(done, session, interrupt)
        session.reporter.say(f"{name_of(signal)}: stopped after step {done}. Go on with: {session.run.resume_command}")
    return exit_code(signal)


def _save(done: int, session: Session, interrupt: Interrupt) -> None:
    with interrupt.held():
        saved = save(session.run, session.adaptation, done)
    session.reporter.say(f"step {done}: saved {saved}")


def due(done: int, every: int, stop: int) -> bool:
    """Is it time, after `done` steps, for what happens `every` so many steps and at the end? Never if 0."""
    return every > 0 and (done % every == 0 or done == stop)


def frames_per_step(config: TrainConfig) -> int:
    """Images that one step sees, of all ranks and both domains together."""
    return config.run.batch_size * config.optimiser.accumulate * (2 if uses_target(config) else 1)
