"""One step of multi-level adaptation, computed in every way that a run can choose.

    python benchmarks/step.py [--backbone lite0] [--size 192 256] [--batch 2] [--rounds 5] [--threads 0] [--only bf16]

Contenders take turns in one process, on CUDA if there is one. `fp32` is the default: channels_last, fused optimisers,
one forward pass of each discriminator for both of its losses. Each other contender changes one thing:

    contiguous   tensors in PyTorch's usual layout
    two-forwards the discriminators see the target twice, as the paper writes it
    dilated      lite0's dilated depthwise convolutions by PyTorch's own kernel, not laid into the batch (CPU only)
    unfused      optimisers of several kernels, PyTorch's choice
    bf16         networks under bfloat16 autocast, losses in float32
    compile      torch.compile of the generator
    tf32         convolutions round their inputs to TF32 (CUDA only)
    deterministic   kernels that give the same bits again (CUDA only; on the CPU they all do)

All train the same weights on the same batch. The factor is of wall time on CUDA, of processor time on the CPU, which
other work on the machine hardly touches; the two differences are the largest relative ones of a loss
from fp32's, at the first and at the last step (steps count on, so small differences grow). The last line is JSON.
"""

import argparse
import json
from dataclasses import replace
from typing import Any

import torch
from contest import machine, take_turns
from torch import Tensor, nn

from adaptseg_serve.memory import keep_freed_memory
from adaptseg_training.adaptation import Adaptation, Losses
from adaptseg_training.batch import Batch
from adaptseg_training.config import DomainConfig, GeneratorConfig, OptimiserConfig, RunConfig, TrainConfig
from adaptseg_training.devices import choose_device
from adaptseg_training.levels import Level
from adaptseg_training.losses import TARGET, adversarial_loss, discriminator_accuracy, discriminator_loss
from adaptseg_training.models.depthwise import DilatedDepthwise
from adaptseg_training.precision import set_up_arithmetic

CLASSES = 19
EVERYWHERE = ("fp32", "contiguous", "two-forwards", "unfused", "bf16", "compile")
ON_CUDA, ON_CPU = ("tf32", "deterministic"), ("dilated",)


class TwoForwards(Adaptation):
    """As the paper writes it: one forward pass of D for the generator's loss, another for its own."""

    def _discriminate_target(self, level: Level, probs: Tensor, share: float, losses: Losses) -> Tensor:
        adversarial = adversarial_loss(self.config.gan, self._scores(level.name, probs))
        (gradient,) = torch.autograd.grad(level.adv_weight * share * adversarial, probs)
        scores = self._scores(level.name, probs.detach())
        loss = discriminator_loss(self.config.gan, scores, TARGET)
        (loss * share).backward()  # type: ignore[no-untyped-call]  # no types in torch
        losses[f"adv/{level.name}"] = adversarial.detach()
        losses[f"disc_target/{level.name}"] = 2 * loss.detach()
        losses[f"disc_accuracy/{level.name}"] = discriminator_accuracy(self.config.gan, scores, TARGET) / 2
        return gradient


class Contender:
    """One way to compute a step; every call does the next one."""

    def __init__(self, name: str, base: TrainConfig, batch: Batch, device: torch.device) -> None:
        config = variant(name, base)
        torch.manual_seed(0)
        kind = TwoForwards if name == "two-forwards" else Adaptation
        self._run, self._device, self._batch = config.run, device, batch
        set_up_arithmetic(self._run, device)
        self._adaptation = kind(config, CLASSES, device)
        if name == "contiguous":
            for network in (self._adaptation.generator, self._adaptation.discriminators):
                network.to(memory_format=torch.contiguous_format)
        if name == "dilated":
            for module in self._adaptation.generator.modules():
                if isinstance(module, DilatedDepthwise):
                    module.__class__ = nn.Conv2d  # type: ignore[assignment]  # back to its parent
        if config.run.compile:
            self._adaptation.generator.compile()
        self.losses: list[dict[str, float]] = []

    def __call__(self) -> None:
        set_up_arithmetic(self._run, self._device)
        self.losses.append(self._adaptation.step(len(self.losses), [self._batch]))
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def variant(name: str, base: TrainConfig) -> TrainConfig:
    match name:
        case "unfused":
            return replace(base, optimiser=replace(base.optimiser, fused=False))
        case "bf16":
            return replace(base, run=replace(base.run, precision="bf16"))
        case "tf32":
            return replace(base, run=replace(base.run, precision="tf32"))
        case "compile":
            return replace(base, run=replace(base.run, compile=True))
        case "deterministic":
            return replace(base, run=replace(base.run, deterministic=True))
    return base


def random_batch(size: tuple[int, int], images: int) -> Batch:
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2 * images, 3, *size), generator=random, dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (images, *size), generator=random, dtype=torch.uint8)
    return Batch(pixels[:images], labels, pixels[images:])


def difference(found: dict[str, float], expected: dict[str, float]) -> float:
    """The largest relative difference of any loss; accuracies are no losses."""
    names = [name for name in expected if not name.startswith(("disc_accuracy", "lr"))]
    return max(abs(found[name] - expected[name]) / abs(expected[name]) for name in names)


def main() -> None:
    options = parser().parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()  # as every run does
    device = choose_device("auto")
    size: tuple[int, int] = (options.size[0], options.size[1])
    base = TrainConfig(
        generator=GeneratorConfig(backbone=options.backbone, weights="none"),
        optimiser=OptimiserConfig(lr=1e-4),
        source=DomainConfig(size=size),
        target=DomainConfig(size=size),
        run=RunConfig(batch_size=options.batch),
    )
    names = [*EVERYWHERE, *(ON_CUDA if device.type == "cuda" else ON_CPU)]
    names = [name for name in names if name == "fp32" or not options.only or name in options.only]
    batch = random_batch(size, options.batch).to(device)
    contenders = {name: Contender(name, base, batch, device) for name in names}
    clock = "median_ms" if device.type == "cuda" else "cpu_ms"
    rows = table(contenders, take_turns(contenders, options.rounds), clock)
    for name, row in rows.items():
        apart = f"losses differ by {row['first']:.0e}, {row['last']:.0e}"
        print(f"{name:14s} {row['median_ms']:8.0f} ms  cpu {row['cpu_ms']:8.0f} ms  x{row['speedup']:.2f}  {apart}")
    where = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    setting = {"backbone": options.backbone, "size": size, "batch": options.batch, "threads": torch.get_num_threads()}
    report = {"benchmark": "step", **setting, "device": where, "torch": torch.__version__, "ways": rows}
    print(json.dumps({**report, **machine()}))


def table(
    contenders: dict[str, Contender], times: dict[str, dict[str, float]], clock: str
) -> dict[str, dict[str, Any]]:
    default = contenders["fp32"].losses
    return {
        name: {
            **times[name],
            "speedup": round(times["fp32"][clock] / times[name][clock], 2),
            "first": difference(contender.losses[0], default[0]),
            "last": difference(contender.losses[-1], default[-1]),
        }
        for name, contender in contenders.items()
    }


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--backbone", choices=["lite0", "resnet101", "vgg16"], default="lite0")
    made.add_argument("--size", type=int, nargs=2, default=(192, 256), metavar=("HEIGHT", "WIDTH"))
    made.add_argument("--batch", type=int, default=2, help="images per domain")
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--threads", type=int, default=0, help="0: as many as PyTorch takes")
    made.add_argument("--only", nargs="*", choices=[*EVERYWHERE, *ON_CUDA, *ON_CPU])
    return made


if __name__ == "__main__":
    main()
