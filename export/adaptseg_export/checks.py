"""What can be known to be wrong before the long part begins. An export may take hours."""

from collections.abc import Sequence

from adaptseg_export.options import BenchOptions, ExportOptions
from adaptseg_export.probes import image_files
from adaptseg_export.verify import RUNTIMES
from adaptseg_export.writer import check_place
from adaptseg_serve.errors import ConfigError
from adaptseg_serve.manifest import MAX_INPUT_PIXELS, is_name

LEAST_SIDE, MOST_SIDE = 32, 8192
"""Heights and widths that a graph is traced for, in pixels; the least is one cell of a stride-32 discriminator."""


def check_export(options: ExportOptions) -> None:
    """ConfigError for options that can't be, BundleError where no bundle can be written."""
    if options.size is not None:
        _check_size("--size", options.size)
        if options.size[0] * options.size[1] > MAX_INPUT_PIXELS or max(options.size) > MOST_SIDE:
            raise ConfigError(
                f"--size is {options.size[0]} {options.size[1]}; a bundle's input has at most {MOST_SIDE} a side "
                f"and {MAX_INPUT_PIXELS} in all."
            )
    if not is_name(options.name or options.bundle.name):
        raise ConfigError(
            "--name must have 1 to 200 printable characters and no slash; without it, so must the bundle's folder."
        )
    if len(set(options.precisions)) < len(options.precisions):
        raise ConfigError(f"--precisions {' '.join(options.precisions)}: name each once.")
    if options.score is None and options.precisions:
        raise ConfigError(
            f"--precisions {' '.join(options.precisions)}: each is admitted by its mIoU on labelled images; "
            "add --score DATASET ROOT SPLIT."
        )
    if options.calibrate is not None and "int8" not in options.precisions:
        raise ConfigError("--calibrate is for int8's ranges; add --precisions int8, or leave it out.")
    for flag, share in (
        ("--min-miou-ratio", options.min_miou_ratio),
        ("--min-sure-agreement", options.min_sure_agreement),
    ):
        if not 0 <= share <= 1:
            raise ConfigError(f"{flag} is {share:g}; it is a share and must be from 0 to 1.")
    if options.score is None and options.baseline is not None:
        raise ConfigError("--baseline is scored on the images of --score DATASET ROOT SPLIT; give that, too.")
    _check_data(options)
    check_place(options.bundle, options.overwrite)


def check_bench(options: BenchOptions) -> None:
    """ConfigError for options that can't be."""
    if options.rounds < 1:
        raise ConfigError(f"--rounds is {options.rounds}; it must be 1 or more.")
    if min(options.batches, default=0) < 1:
        raise ConfigError(f"--batches {' '.join(map(str, options.batches))}: each must be 1 or more.")
    for size in options.sizes:
        _check_size("--sizes", size)
    for runtime in options.runtimes:
        if runtime not in RUNTIMES:
            raise ConfigError(f"--runtimes: there is no runtime {runtime!r}; there are {', '.join(RUNTIMES)}.")


def check_found(runtimes: Sequence[str], found: Sequence[str]) -> None:
    """ConfigError where one of the wanted `runtimes` isn't among those `found` here."""
    missing = [runtime for runtime in runtimes if runtime not in found]
    if missing:
        raise ConfigError(
            f"--runtimes {' '.join(missing)}: not on this machine, or without a graph in this bundle; "
            f"here are {', '.join(found)}."
        )


def _check_data(options: ExportOptions) -> None:
    """Listing files takes seconds, so all that is read later is looked for now."""
    from adaptseg_export.labelled import open_labelled  # torch: the benchmark has no need of it
    from adaptseg_training.checkpoint import find_checkpoint

    image_files(options.images)
    if options.score is not None:
        images = open_labelled(options.score, "score")
        if images.label_set is None:
            raise ConfigError("--score: this data set has no labels to score on; choose a labelled one.")
    if options.calibrate is not None:
        open_labelled(options.calibrate, "calibrate")
    if options.baseline is not None:
        find_checkpoint(options.baseline)


def _check_size(flag: str, size: tuple[int, int]) -> None:
    if min(size) < LEAST_SIDE:
        raise ConfigError(f"{flag} is {size[0]} {size[1]}; height and width must be {LEAST_SIDE} or more.")
