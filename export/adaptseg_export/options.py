"""What the user may choose; nothing here imports torch, so `--help` is quick."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg

from adaptseg_export.bounds import MIN_MIOU_RATIO, MIN_SURE_AGREEMENT
from adaptseg_training.config import Dataset

Weights = Literal["fp32", "fp16"]
Labelled = tuple[Dataset, Path, str]
"""Data set, folder, split; for those that are drawn - is the folder, for those without splits - is the split."""


@dataclass(frozen=True)
class ExportOptions:
    """Turn a checkpoint into a bundle that can be served.

    Discriminators and the aux head are dropped; normalisation, upsampling and argmax go into the graph. The graph
    is then run beside PyTorch on several shapes and images, and the bundle is written only if the two agree in
    99.99 % of pixels and every other pixel is a tie (fp16 weights: 99.9 %).

    Two more ways to call it: `adaptseg-export --verify BUNDLE` runs parity again on this machine, without torch;
    `adaptseg-export --benchmark BUNDLE` is adaptseg-bench. Each has its own --help.
    """

    checkpoint: Annotated[Positional[str], arg(metavar="CHECKPOINT")]
    """A run folder (its best checkpoint, else its last) or one checkpoint in it; with --from-adaptsegnet their file."""
    bundle: Annotated[Positional[Path], arg(metavar="BUNDLE")]
    """Folder to write."""
    name: str = ""
    """Name of the model, as clients see it; the bundle folder's name if empty."""
    note: str = ""
    """What the model is good for and what it is not: one or two sentences for the model card."""
    size: Annotated[tuple[int, int] | None, arg(metavar="HEIGHT WIDTH")] = None
    """(height, width) the server resizes images to; the one that the run evaluates at if not given."""
    class_offsets: Annotated[tuple[str, ...], arg(metavar="CLASS=NUMBER ...")] = ()
    """Added to the scores of classes that the source has too many or too few of: vegetation=-2 sidewalk=1.5."""
    weights: Weights = "fp32"
    """How weights are stored. fp16 halves the file; runtimes widen them on loading and compute in fp32."""
    from_adaptsegnet: bool = False
    """CHECKPOINT is a file that the AdaptSegNet authors released: a path, or an address (https://...#sha256=...)."""
    label_set: Annotated[str, arg(metavar="NAME")] = ""
    """With --from-adaptsegnet: what its classes are, where their number (19, 16, 13) doesn't say it."""
    images: Annotated[tuple[Path, ...], arg(metavar="PATH ...")] = ()
    """Images, or folders of images, for the comparison; frames of a rendered street are always compared."""
    score: Annotated[Labelled | None, arg(metavar="DATASET ROOT SPLIT")] = None
    """Measure the finished graph on labelled images and record it: DATASET ROOT SPLIT, e.g. camvid data/camvid val, or
    streets - day (200 that are drawn), or own roads.yaml - (no splits). - for a split: val, where there is one."""
    precisions: Annotated[tuple[Literal["fp16", "int8"], ...], arg(metavar="fp16|int8 ...")] = ()
    """Further graphs in the bundle: int8 for CPUs (static, QDQ), fp16 for GPUs. Each is admitted only by --score."""
    calibrate: Annotated[Labelled | None, arg(metavar="DATASET ROOT SPLIT")] = None
    """Frames that int8's ranges are taken from, 32 of them; rendered streets if not given. Labels aren't used."""
    min_miou_ratio: float = MIN_MIOU_RATIO
    """A further graph's mIoU on --score must be at least this part of model.onnx's."""
    min_sure_agreement: float = MIN_SURE_AGREEMENT
    """Least part of the pixels of which model.onnx is sure (softmax at least 0.9) that must keep their class."""
    fixed_shape: bool = False
    """Add a graph for one image of the input size only: no dynamic dimension, for runtimes that need that."""
    baseline: Path | None = None
    """Another checkpoint (the source-only one), scored beside it on the same images."""
    overwrite: bool = False
    """Replace the bundle that is there."""


@dataclass(frozen=True)
class VerifyOptions:
    """Run a bundle's parity again, here: each runtime of this machine, and against what was recorded.

    A graph of fixed shape is no runtime's here, so only its digest is checked. Needs neither torch nor the checkpoint.
    Exit code 1 if anything says other things than it should.
    """

    bundle: Annotated[Positional[Path], arg(metavar="BUNDLE")]
    """The bundle's folder."""
    score: Annotated[Labelled | None, arg(metavar="DATASET ROOT SPLIT")] = None
    """Compare mIoU on labelled images, too (needs the extra `train`)."""
    images: Annotated[tuple[Path, ...], arg(metavar="PATH ...")] = ()
    """Images, or folders of images, to compare on besides the rendered ones."""
    threads: int = 0
    """Threads of each runtime; 0: as many as this process may use."""


@dataclass(frozen=True)
class BenchOptions:
    """Measure a bundle on every runtime of this machine: time, memory, agreement, and mIoU if asked. Ends with JSON."""

    bundle: Annotated[Positional[Path], arg(metavar="BUNDLE")]
    """The bundle's folder."""
    runtimes: Annotated[tuple[str, ...], arg(metavar="NAME ...")] = ()
    """Only these, and the reference; all that this machine has if not given."""
    sizes: Annotated[tuple[tuple[int, int], ...], arg(metavar="HEIGHT WIDTH ...")] = ()
    """(height, width) of the images; the bundle's input size if not given."""
    batches: Annotated[tuple[int, ...], arg(metavar="N ...")] = (1,)
    """Images in one run."""
    rounds: int = 30
    """Calls of each; they take turns."""
    threads: int = 0
    """Threads of each runtime; 0: as many as this process may use."""
    score: Annotated[Labelled | None, arg(metavar="DATASET ROOT SPLIT")] = None
    """Labelled images for mIoU (needs the extra `train`)."""


def parse_verify(argv: Sequence[str]) -> VerifyOptions:
    """Options of `adaptseg-export --verify`; exits with 2 on a usage error."""
    return tyro.cli(VerifyOptions, prog="adaptseg-export --verify", args=argv)


def parse_bench(argv: Sequence[str]) -> BenchOptions:
    """Options of `adaptseg-bench`; exits with 2 on a usage error."""
    return tyro.cli(BenchOptions, prog="adaptseg-bench", args=argv)


def parse(argv: Sequence[str]) -> ExportOptions:
    """Options from the command line; exits with 2 on a usage error."""
    return tyro.cli(ExportOptions, prog="adaptseg-export", args=argv)
