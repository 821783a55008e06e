"""What a run would do, told without doing it: the plan, the data, the networks, and what a few real steps cost.

Nothing is written and nothing downloaded: the steps start from random weights, which take the same time and memory.
"""

import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import GeneratorType

import torch

from adaptseg_serve.labels import find_label_set
from adaptseg_serve.memory import keep_freed_memory
from adaptseg_training.adaptation import Adaptation
from adaptseg_training.batch import Batch
from adaptseg_training.config import DomainConfig, OptimiserConfig, TrainConfig
from adaptseg_training.data.sample import ImageSet
from adaptseg_training.data.skipping import Skips
from adaptseg_training.devices import choose_device
from adaptseg_training.domains import Domains, open_domains, scored_domain, step_batches
from adaptseg_training.failures import attempt
from adaptseg_training.precision import set_up_arithmetic

WARM_UP, TIMED = 1, 2
"""Steps before the timed ones (allocators, cuDNN's search), and those."""

Say = Callable[[str], None]


def dry_run(config: TrainConfig, preset: str, say: Say = print) -> int:
    """Tell through `say` what training as `config` says would do; returns the exit code. Takes three real steps."""
    device = choose_device(config.run.device)
    set_up_arithmetic(config.run, device)
    if device.type == "cpu":
        keep_freed_memory()
    domains = open_domains(config)
    torch.manual_seed(config.run.seed)
    adaptation = Adaptation(config, len(find_label_set(config.label_set)), device, initial=False)
    for heading, lines in (
        ("plan", plan(config, adaptation)),
        ("data", found(config, domains)),
        ("networks", networks(adaptation)),
        (f"{WARM_UP + TIMED} steps on {_name(device)}", measured(config, domains, adaptation, device, say)),
        ("writes", [f"{folder(config, preset)}/: config.yaml, checkpoints/, scalars.csv, tensorboard/, previews/"]),
    ):
        say(f"{heading}:")
        for line in lines:
            say(f"  {line}")
    say("Nothing was trained or written. The same command without --dry-run starts the run.")
    return 0


def plan(config: TrainConfig, adaptation: Adaptation) -> Iterator[str]:
    """Levels, losses, weights, optimiser, schedule, one line each."""
    gan = "binary cross-entropy (eq. 2, 4)" if config.gan == "vanilla" else "least squares (eq. 7, 8)"
    for level in adaptation.levels:
        adapts = level.adapts and config.target is not None
        adversarial = f"adversarial {level.adv_weight:g} on {level.space}, {gan}" if adapts else "no adaptation"
        yield f"level {level.name}: segmentation {level.seg_weight:g}, {adversarial}"
    if adaptation.class_shares is not None:
        yield f"discriminators see the source with the target's class shares, weights up to {config.balance_shares:g}"
    if config.fourier:
        yield f"source images in the target's colours by Fourier amplitudes, window {config.fourier:g}"
    if config.self_training.weight:
        yield f"self-training on mixed images: {config.self_training.weight:g}"
    generator, optimiser, run = config.generator, config.optimiser, config.run
    yield (
        f"generator: {generator.backbone}, {generator.aspp_branches} ASPP branches, batch norm {generator.bn}, "
        f"weights {generator.weights}"
    )
    yield (
        f"{_generator_optimiser(optimiser)}, heads x{optimiser.head_lr_factor:g}, "
        f"weight decay {optimiser.weight_decay:g}, {optimiser.param_groups} groups"
    )
    if optimiser.average:
        yield f"deployed: the moving average of the generator's weights, momentum {optimiser.average:g}"
    if len(adaptation.discriminators):
        yield f"Adam: lr {optimiser.discriminator_lr:g}, betas {optimiser.betas[0]:g} {optimiser.betas[1]:g}"
    yield (
        f"schedule: poly {optimiser.power:g} over {optimiser.schedule_steps} steps, stop at {run.stop_step}; "
        f"batch {run.batch_size} a domain, {optimiser.accumulate} a step; {run.precision}"
    )


def _generator_optimiser(config: OptimiserConfig) -> str:
    if config.algorithm == "adamw":
        return f"AdamW: lr {config.lr:g}"
    return f"SGD: lr {config.lr:g}, momentum {config.momentum:g}{' (Nesterov)' if config.nesterov else ''}"


def found(config: TrainConfig, domains: Domains) -> Iterator[str]:
    """Each domain: images found, sizes, label set; reads one image of each."""
    described = {"source": config.source, "target": config.target, "evaluate": scored_domain(config)}
    for name, domain in described.items():
        images = getattr(domains, name)
        if domain is not None and images is not None:
            yield f"{name}: {_domain(domain, images)}"
    yield f"classes: {config.label_set} ({len(find_label_set(config.label_set))})"


def networks(adaptation: Adaptation) -> Iterator[str]:
    """Parameters of each part."""
    children = adaptation.generator.named_children()
    parts = {name if name == "backbone" else f"{name} head": part for name, part in children}
    parts |= {f"{name} discriminator": d for name, d in adaptation.discriminators.items()}
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    yield ", ".join(f"{name} {count / 1e6:.2f} M" for name, count in counts.items())
    yield f"together {sum(counts.values()) / 1e6:.2f} M parameters"


def measured(
    config: TrainConfig, domains: Domains, adaptation: Adaptation, device: torch.device, say: Say
) -> Iterator[str]:
    """Memory and time of real steps on the real data, and what they make of the whole run."""
    skips = Skips(config, say)
    stream = step_batches(config, domains, 0, device.type == "cuda", skips.add)
    assert isinstance(stream, GeneratorType)
    seconds, waits = [], []
    with closing(stream):  # ends the workers
        for step in range(WARM_UP + TIMED):
            began = time.perf_counter()
            batches: list[Batch] = next(stream)
            waits.append(time.perf_counter() - began)
            losses = attempt(adaptation, step, batches, device)  # its floats wait for the GPU
            seconds.append(time.perf_counter() - began - waits[-1])
    yield ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
    yield memory(device)
    step_s, wait_s = statistics.fmean(seconds[WARM_UP:]), statistics.fmean(waits[WARM_UP:])
    workers = config.run.workers
    meanwhile = f"which {workers} workers load meanwhile" if workers else "which the training process loads itself"
    hours = (step_s + wait_s) * config.run.stop_step / 3600
    yield f"{step_s:.3g} s a step, after {wait_s:.2g} s for data, {meanwhile}"
    if config.run.compile:
        yield "these steps were not compiled; --run.compile takes a minute first, and less for each after"
    yield f"{config.run.stop_step} steps: about {duration(hours)} of this device, checkpoints and scores not counted"


def memory(device: torch.device) -> str:
    """Most memory that was in use so far."""
    if device.type == "cuda":
        used, whole = torch.cuda.max_memory_reserved(device), torch.cuda.get_device_properties(device).total_memory
        return f"GPU memory: {used / 2**30:.1f} of {whole / 2**30:.1f} GiB"
    return f"memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB at most"


def duration(hours: float) -> str:
    """Hours as people say them."""
    if hours < 1:
        return f"{max(60 * hours, 1):.0f} minutes"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"


def folder(config: TrainConfig, preset: str) -> str:
    """Where the run will be; `Run` adds a number where a run without a name finds its folder taken."""
    if config.run.resume is not None:
        return str(config.run.resume)
    path = config.run.dir / (config.run.name or Path(preset).stem or "run")
    return f"{path}-N" if not config.run.name and path.exists() else str(path)


def _domain(domain: DomainConfig, images: ImageSet) -> str:
    height, width = images[0].image.shape[:2]
    size = f"{height}x{width}" if (height, width) == domain.size else f"{height}x{width} -> {_size(domain.size)}"
    labels = f"labels: {images.label_set}" if images.label_set else "no labels"
    split = f" {domain.split}" if domain.split else ""
    return f"{domain.dataset}{split}: {len(images)} images, the first {size}, {labels}"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    threads = torch.get_num_threads()
    return f"{threads} CPU thread{'s' if threads > 1 else ''}"
