"""The networks and the training loop a second time, as plain functions of a dict of weights: no line is shared with
adaptseg_training. It writes files of the golden kind for variants that the golden folder may lack.

Names are the reference's. Everything is spelled out: upsampling is two matrix products, SGD and Adam are formulas.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from golden import recipe

Weights = dict[str, Tensor]
Heads = dict[str, Tensor]
"""Upsampled logits by the number of their level, "1" or "2"; a network of one head calls it as `Spec.number`."""

VGG = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (23, 25, 27))


@dataclass(frozen=True)
class Spec:
    """One training, in the words of the golden README."""

    model: str = "tiny"
    heads: str = "multi"
    number: str = "2"
    weights: Mapping[str, tuple[float, float]] = field(default_factory=lambda: {"1": (0.1, 2e-4), "2": (1.0, 1e-3)})
    """(lambda_seg, lambda_adv) by level."""
    least_squares: bool = False
    branches: int = 2
    batches: int = 1
    frozen: bool = False
    groups: str = "dedup"
    dtype: torch.dtype = torch.float32
    iterations: int = 1
    source_size: tuple[int, int] = (96, 160)
    head_factor: float = 10.0


class Network:
    """Weights by the reference's names, and what they compute; batch norm's buffers move when `frozen` is false."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        tensors = recipe.official_tensors(spec.model, spec.heads)
        self.w: Weights = {k: v.to(spec.dtype) if v.is_floating_point() else v for k, v in tensors.items()}
        self.trained = [k for k, v in self.w.items() if v.is_floating_point() and not _is_norm(k, v)]
        for key in self.trained:
            self.w[key].requires_grad_()

    def __call__(self, x: Tensor) -> Heads:
        if self.spec.model == "vgg16":
            return {self.spec.number: self._head("classifier", self._vgg(x))}
        conv4, conv5 = self._resnet(x)
        if self.spec.heads == "single":
            return {self.spec.number: self._head("layer5", conv5)}
        return {"1": self._head("layer5", conv4), "2": self._head("layer6", conv5)}

    def _resnet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = functional.conv2d(x, self.w["conv1.weight"], stride=2, padding=3)
        x = functional.max_pool2d(self._norm("bn1", x).relu(), 3, 2, 1, ceil_mode=True)
        outputs = []
        for stage, (blocks, stride, dilation) in enumerate(self._stages(), 1):
            for block in range(blocks):
                x = self._block(f"layer{stage}.{block}", x, stride if block == 0 else 1, dilation)
            outputs.append(x)
        return outputs[2], outputs[3]

    def _stages(self) -> Iterator[tuple[int, int, int]]:
        blocks = (1, 1, 2, 1) if self.spec.model == "tiny" else (3, 4, 23, 3)
        return zip(blocks, (1, 2, 1, 1), (1, 1, 2, 4), strict=True)

    def _block(self, name: str, x: Tensor, stride: int, dilation: int) -> Tensor:
        y = self._norm(f"{name}.bn1", functional.conv2d(x, self.w[f"{name}.conv1.weight"], stride=stride)).relu()
        y = functional.conv2d(y, self.w[f"{name}.conv2.weight"], padding=dilation, dilation=dilation)
        y = functional.conv2d(self._norm(f"{name}.bn2", y).relu(), self.w[f"{name}.conv3.weight"])
        y = self._norm(f"{name}.bn3", y)
        if f"{name}.downsample.0.weight" in self.w:
            x = functional.conv2d(x, self.w[f"{name}.downsample.0.weight"], stride=stride)
            x = self._norm(f"{name}.downsample.1", x)
        return (x + y).relu()

    def _norm(self, name: str, x: Tensor) -> Tensor:
        mean, var = self.w[f"{name}.running_mean"], self.w[f"{name}.running_var"]
        if not self.spec.frozen:
            batch_mean, batch_var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            n = x.numel() / x.shape[1]
            mean.mul_(0.9).add_(0.1 * batch_mean.detach())
            var.mul_(0.9).add_(0.1 * batch_var.detach() * n / (n - 1))
            self.w[f"{name}.num_batches_tracked"].add_(1)
            mean, var = batch_mean, batch_var
        scale = self.w[f"{name}.weight"] / (var + 1e-5).sqrt()
        return x * scale[:, None, None] + (self.w[f"{name}.bias"] - mean * scale)[:, None, None]

    def _vgg(self, x: Tensor) -> Tensor:
        for stage, indices in enumerate(VGG):
            dilation = 2 if stage == 4 else 1
            for i in indices:
                x = self._conv(f"features.{i}", x, dilation).relu()
            x = functional.max_pool2d(x, 2) if stage < 3 else x
        return self._conv("features.31", self._conv("features.29", x, 4).relu(), 4).relu()

    def _head(self, name: str, x: Tensor) -> Tensor:
        dilations = (6, 12, 18, 24)[: self.spec.branches]
        return torch.stack([self._conv(f"{name}.conv2d_list.{i}", x, d) for i, d in enumerate(dilations)]).sum(0)

    def _conv(self, name: str, x: Tensor, dilation: int) -> Tensor:
        return functional.conv2d(
            x, self.w[f"{name}.weight"], self.w[f"{name}.bias"], padding=dilation, dilation=dilation
        )


def _is_norm(key: str, value: Tensor) -> bool:
    """Gamma, beta and the running statistics: not trained. Biases of convolutions are trained."""
    return value.ndim < 4 and not key.startswith(("features.", "classifier.")) and "conv2d_list" not in key


def discriminate(w: Weights, probs: Tensor) -> Tensor:
    x = probs
    for name in ("conv1", "conv2", "conv3", "conv4"):
        x = functional.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=2, padding=1)
        x = torch.where(x > 0, x, 0.2 * x)
    return functional.conv2d(x, w["classifier.weight"], w["classifier.bias"], stride=2, padding=1)


def enlarge(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with aligned corners: one interpolation matrix for the rows, one for the columns."""
    rows, columns = (_interpolation(a, b, logits.dtype) for a, b in zip(logits.shape[2:], size, strict=True))
    return rows @ logits @ columns.T


def _interpolation(short: int, long: int, dtype: torch.dtype) -> Tensor:
    positions = np.arange(long) * (short - 1) / (long - 1)
    near = np.abs(positions[:, None] - np.arange(short)[None])
    return torch.from_numpy(np.maximum(0, 1 - near)).to(dtype)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    known = labels != 255
    picked = logits.log_softmax(1).gather(1, torch.where(known, labels, 0)[:, None])[:, 0]
    return -picked[known].mean()


def domain_loss(least_squares: bool, scores: Tensor, wanted: float) -> Tensor:
    if least_squares:
        return ((scores - wanted) ** 2).mean()
    return (functional.softplus(scores) - wanted * scores).mean()


class Training:
    """Networks, momentum buffers and Adam's moments of one Spec; `run` trains and returns a file's arrays."""

    def __init__(self, spec: Spec) -> None:
        self.spec, self.network = spec, Network(spec)
        numbers = ["1", "2"] if spec.heads == "multi" else [spec.number]
        shapes = recipe.read_json("state_dict_keys.json")["FCDiscriminator_19"]
        self.discriminators: dict[str, Weights] = {
            n: {k: recipe.weight(k, s, recipe.BASE + int(n)).to(spec.dtype).requires_grad_() for k, s in shapes.items()}
            for n in numbers
        }
        self.momentum: Weights = {}
        self.moments: dict[str, tuple[Tensor, Tensor]] = {}
        self.losses: dict[str, list[list[float]]] = {}

    def run(self) -> dict[str, np.ndarray]:
        networks = {"G": self.network.w, **{f"D{n}": w for n, w in self.discriminators.items()}}
        before = {name: _copy(w) for name, w in networks.items()}
        for iteration in range(self.spec.iterations):
            for i in range(self.spec.batches):
                self._accumulate(iteration, iteration * self.spec.batches + i)
            self._update(iteration, (1 - iteration / 250_000) ** 0.9)
        arrays = {name: np.array(rows) for name, rows in self.losses.items()}
        for name, w in networks.items():
            arrays |= _changes(name, before[name], _copy(w))
        return arrays

    def _accumulate(self, iteration: int, i: int) -> None:
        spec, dtype = self.spec, self.spec.dtype
        source = self.network(recipe.image(1000 + i, (1, 3, *spec.source_size)).to(dtype))
        source = {n: enlarge(logits, spec.source_size) for n, logits in source.items()}
        labels = recipe.label(2000 + i, (1, *spec.source_size))
        total = torch.zeros((), dtype=dtype)
        for n, logits in source.items():
            loss = self._note(f"loss_seg{n}", iteration, cross_entropy(logits, labels))
            total = total + spec.weights[n][0] * loss
        target = self.network(recipe.image(3000 + i, (1, 3, 64, 128)).to(dtype))
        target = {n: enlarge(logits, (64, 128)) for n, logits in target.items()}
        for n, logits in target.items():
            scores = discriminate(_detached(self.discriminators[n]), logits.softmax(1))
            loss = self._note(f"loss_adv{n}", iteration, domain_loss(spec.least_squares, scores, 0))
            total = total + spec.weights[n][1] * loss
        for domain, wanted, outputs in (("src", 0, source), ("tgt", 1, target)):
            for n, logits in outputs.items():
                scores = discriminate(self.discriminators[n], logits.detach().softmax(1))
                loss = domain_loss(spec.least_squares, scores, wanted)
                total = total + self._note(f"loss_D{n}_{domain}", iteration, loss) / 2
        (total / spec.batches).backward()

    def _note(self, name: str, iteration: int, loss: Tensor) -> Tensor:
        rows = self.losses.setdefault(name, [])
        if len(rows) == iteration:
            rows.append([])
        rows[iteration].append(float(loss.detach()))
        return loss

    @torch.no_grad()
    def _update(self, iteration: int, share: float) -> None:
        for key in self.network.trained:
            parameter = self.network.w[key]
            if parameter.grad is not None:  # None: a branch that is never computed
                head = "conv2d_list" in key
                lr = 2.5e-4 * share * (self.spec.head_factor if head else 1)
                self._sgd(key, parameter, parameter.grad, lr, _listed(key) if self.spec.groups != "dedup" else 1)
                parameter.grad = None
        for n, w in self.discriminators.items():
            for key, parameter in w.items():
                assert parameter.grad is not None
                self._adam(f"{n}{key}", parameter, parameter.grad, 1e-4 * share, iteration + 1)
                parameter.grad = None

    def _sgd(self, key: str, parameter: Tensor, grad: Tensor, lr: float, times: int) -> None:
        fresh = key not in self.momentum
        for _ in range(times):
            change = grad + 5e-4 * parameter
            # PyTorch 2 reads every occurrence's buffer before it writes any: in the first step each starts anew.
            restart = fresh and self.spec.groups == "torch2"
            held = change if restart or key not in self.momentum else 0.9 * self.momentum[key] + change
            self.momentum[key] = held
            parameter -= lr * held

    def _adam(self, key: str, parameter: Tensor, grad: Tensor, lr: float, step: int) -> None:
        first, second = self.moments.get(key, (torch.zeros_like(grad), torch.zeros_like(grad)))
        first, second = 0.9 * first + 0.1 * grad, 0.99 * second + 0.01 * grad**2
        self.moments[key] = (first, second)
        parameter -= lr * (first / (1 - 0.9**step)) / ((second / (1 - 0.99**step)).sqrt() + 1e-8)


def _listed(key: str) -> int:
    """How often the reference lists a backbone parameter: section 3's duplicate list."""
    if "downsample" in key:
        return 4
    return 3 if key.startswith("layer") and "conv2d_list" not in key else 1


def _detached(w: Weights) -> Weights:
    return {key: tensor.detach() for key, tensor in w.items()}


def _copy(w: Weights) -> Weights:
    return {key: tensor.detach().double().clone() for key, tensor in w.items()}


def _changes(name: str, before: Weights, after: Weights) -> dict[str, np.ndarray]:
    deltas = [after[key] - before[key] for key in before]
    return {
        f"{name}_names": np.array(list(before)),
        f"{name}_delta_l2": np.array([float(d.norm()) for d in deltas]),
        f"{name}_first8": np.array([_first8(after[key]) for key in before]),
        f"{name}_delta_first8": np.array([_first8(d) for d in deltas]),
    }


def _first8(tensor: Tensor) -> list[float]:
    flat: list[float] = tensor.flatten()[:8].tolist()
    return flat + [0.0] * (8 - len(flat))


def write_training(path: Path, spec: Spec) -> None:
    """A train_*.npz file of `spec`."""
    arrays: Mapping[str, np.ndarray] = Training(spec).run()
    np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy takes ** for allow_pickle


def write_forward(path: Path, spec: Spec, images: Mapping[str, tuple[int, tuple[int, ...]]]) -> None:
    """A forward_*.npz file: logits of `images` in evaluation mode, of two branches and of four."""
    arrays = {}
    name: Callable[[str], str] = (lambda n: f"logits{n}") if spec.heads == "multi" else lambda _: "logits"
    for branches, suffix in ((2, ""), (4, "_aspp4")):
        network = Network(Spec(model=spec.model, heads=spec.heads, branches=branches, frozen=True))
        with torch.no_grad():
            for image, (seed, shape) in images.items():
                for n, logits in network(recipe.image(seed, shape)).items():
                    arrays[f"{image}_{name(n)}{suffix}"] = logits.numpy()
    np.savez(path, **arrays)
