"""Adaptation <-> checkpoint: what a run must remember to go on exactly where it stopped."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from adaptseg_serve.errors import ConfigError
from adaptseg_training.adaptation import Adaptation
from adaptseg_training.checkpoint import GENERATOR, RECORD, last_checkpoint, load_training_state, read_record
from adaptseg_training.config import TrainConfig
from adaptseg_training.errors import CheckpointError, TrainingError
from adaptseg_training.parsing import from_settings
from adaptseg_training.run import DIVERGED, Run

# Data order, augmentation and every random number of a step are functions of (seed, step): there is no state of a
# sampler, a worker or a random generator to save beside the step itself.


def save(run: Run, adaptation: Adaptation, done: int) -> Path:
    """Save after `done` steps; returns the checkpoint's folder. TrainingError if a weight is no number any more.

    The losses of a step are those before its update: they can be finite when the weights it leaves are not.
    """
    generators = {adaptation.deployed, adaptation.generator}  # with an average or a teacher these are two
    for name, those in (("generator", generators), ("discriminators", {adaptation.discriminators})):
        broken = sum(not value.isfinite().all() for each in those for value in each.state_dict().values())
        if broken:
            raise diverged(run, adaptation, done, f"{broken} tensors of the {name} hold NaN or infinity")
    return run.save(done, adaptation.deployed.state_dict(), _training_state(adaptation))


def diverged(run: Run, adaptation: Adaptation, done: int, what: str) -> TrainingError:
    """The error to raise when training broke; the broken state is kept where no resume takes it for a good one."""
    place = run.save(done, adaptation.deployed.state_dict(), _training_state(adaptation), prefix=DIVERGED)
    advice = f"--optimiser.lr {run.config.optimiser.lr / 4:g}"
    again = f"start again with {advice}"
    if last_checkpoint(run.path) is not None:
        again = f"go on from the last good checkpoint: {run.resume_command} {advice}"
    return TrainingError(
        f"step {done}: {what}; training diverged. The state is kept in {place} for study. "
        f"Lower the learning rate and {again}"
    )


def resume(run: Run, adaptation: Adaptation) -> int:
    """Load the run's last checkpoint into `adaptation`; returns the steps done (0: there is none yet)."""
    folder = last_checkpoint(run.path)
    if folder is None:
        return 0
    state = load_training_state(folder)
    try:
        check_kept(run.config, from_settings(read_record(folder)["config"], folder / RECORD))
        _keep_own_settings(adaptation, state["adaptation"])
        adaptation.load_state_dict({**state["adaptation"], "generator": load_file(folder / GENERATOR)})
    except SafetensorError as error:
        raise CheckpointError(
            f"{folder / GENERATOR} is damaged ({error}); delete {folder} and resume again."
        ) from error
    except (RuntimeError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{folder} does not fit the run's settings: {error}. On resume no flag may change the network."
        ) from error
    return int(read_record(folder)["step"])


def check_kept(config: TrainConfig, saved: TrainConfig) -> None:
    """ConfigError for flags given on resume under which a checkpoint of the `saved` config would mean other things.

    The classes' names and how images are normalised are not in the weights, and which weights it began with says how.
    With an average or a teacher a checkpoint holds that one and the student apart: either may become the other, or
    begin, but not be dropped. What an optimiser remembers fits no other one.
    Discriminators have learned to see what their level shows, and to say it in their loss's terms.
    """
    dropped = _averages(saved) and not _averages(config)
    adapting = [name for name in ("aux", "main") if getattr(saved, name).adv_weight > 0]
    for flag, was, now in (
        *([("gan", saved.gan, config.gan)] if adapting else []),
        *([("optimiser.average", saved.optimiser.average, config.optimiser.average)] if dropped else []),
        *([("self-training.weight", saved.self_training.weight, config.self_training.weight)] if dropped else []),
        *((f"{name}.space", getattr(saved, name).space, getattr(config, name).space) for name in adapting),
        ("label-set", saved.label_set, config.label_set),
        ("generator.weights", saved.generator.weights, config.generator.weights),
        ("generator.normalisation", saved.generator.normalisation, config.generator.normalisation),
        ("optimiser.algorithm", saved.optimiser.algorithm, config.optimiser.algorithm),
        ("optimiser.param-groups", saved.optimiser.param_groups, config.optimiser.param_groups),
    ):
        if was != now and (isinstance(was, str) or 0 in (was, now)):
            raise ConfigError(
                f"--{flag} {now}: the run was trained with {was}, which can't be changed on the way. Leave the "
                f"flag out, or start a new run from this one's weights: --generator.weights .../{GENERATOR}."
            )


def _averages(config: TrainConfig) -> bool:
    return config.optimiser.average > 0 or config.self_training.weight > 0


def _keep_own_settings(adaptation: Adaptation, saved: dict[str, Any]) -> None:
    """Optimisers load their buffers but keep the learning rates and the like of this run's config: a flag given on
    resume counts. (An optimiser's saved state holds its settings too, and would bring the old ones back.)"""
    states = [saved["generator_optimiser"], *saved["discriminator_optimisers"].values()]
    optimisers = [adaptation.generator_optimiser, *adaptation.discriminator_optimisers.values()]
    for optimiser, state in zip(optimisers, states, strict=True):
        for group, old in zip(optimiser.param_groups, state["param_groups"], strict=True):
            old.update({name: value for name, value in group.items() if name != "params"})


def _training_state(adaptation: Adaptation) -> dict[str, Any]:
    state = adaptation.state_dict()
    state.pop("generator")
    return {"adaptation": state}
