"""What the user may choose; nothing here imports torch, so `--help` is quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg

from adaptseg_training.config import Dataset

Weights = Literal["fp32", "fp16"]


@dataclass(frozen=True)
class ExportOptions:
    """Turn a checkpoint into a bundle that can be served.

    Discriminators and the aux head are dropped; normalisation, upsampling and argmax go into the graph. The graph
    is then run beside PyTorch on several shapes and images, and the bundle is written only if the two agree in
    99.99 % of pixels and every other pixel is a tie (fp16 weights: 99.9 %).
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
    """(height, width) the server resizes images to; the training size if not given."""
    weights: Weights = "fp32"
    """How weights are stored. fp16 halves the file; runtimes widen them on loading and compute in fp32."""
    from_adaptsegnet: bool = False
    """CHECKPOINT is a file that the AdaptSegNet authors released: a path, or an address (https://...#sha256=...)."""
    label_set: Annotated[str, arg(metavar="NAME")] = ""
    """With --from-adaptsegnet: what its classes are, where their number (19, 16, 13) doesn't say it."""
    images: Annotated[tuple[Path, ...], arg(metavar="PATH ...")] = ()
    """Images, or folders of images, for the comparison; frames of a rendered street are always compared."""
    score: Annotated[tuple[Dataset, Path, str] | None, arg(metavar="DATASET ROOT SPLIT")] = None
    """Measure the finished graph on labelled images and record it: DATASET ROOT SPLIT, e.g. camvid data/camvid val."""
    baseline: Path | None = None
    """Another checkpoint (the source-only one), scored beside it on the same images."""
    overwrite: bool = False
    """Replace the bundle that is there."""


def parse(argv: list[str] | None = None) -> ExportOptions:
    """Options from the command line; exits with 2 on a usage error."""
    return tyro.cli(ExportOptions, prog="adaptseg-export", args=argv)
