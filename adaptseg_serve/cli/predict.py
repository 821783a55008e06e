"""`adaptseg-predict BUNDLE IMAGE|FOLDER|VIDEO ... --out DIR`: label maps by the server's code, without it."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adaptseg_serve.bundle import Bundle, open_bundle
from adaptseg_serve.cli.inputs import Source, count_frames, find_sources, read_frames
from adaptseg_serve.cli.outputs import Render, writers
from adaptseg_serve.errors import AdaptSegError, ConfigError, RequestError
from adaptseg_serve.predictor import Predictor, load_predictor
from adaptseg_serve.runtimes.names import Runtime

OK, FAILURE, USAGE, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True)
class Options:
    """Write the label maps of images, folders of images and videos.

    adaptseg-predict packaged my_drive.mp4 --out predictions --render overlay
    """

    bundle: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="BUNDLE")]
    """Directory of the bundle, or packaged: the model that comes along."""
    inputs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="INPUT ...")]
    """Images (JPEG, PNG), folders of them, or videos."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the results; it is made if need be."""
    render: Render = "labels"
    """labels: palette PNGs whose pixels are train ids; overlay: the colours over the image; both."""
    runtime: Annotated[Runtime, tyro.conf.arg(metavar="NAME")] = "auto"
    """What runs the graph, e.g. openvino-int8; auto: onnxruntime in fp32. adaptseg-bench BUNDLE compares them."""
    threads: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Threads of the runtime; 0: the runtime chooses."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 all written, 1 something failed, 2 wrong usage."""
    options = tyro.cli(Options, prog="adaptseg-predict", args=argv)
    console = Console(stderr=True)
    try:
        return _run(options, console)
    except ConfigError as error:
        return _complain(error, USAGE)
    except (AdaptSegError, OSError) as error:
        return _complain(error, FAILURE)
    except KeyboardInterrupt:
        return _complain("interrupted; what is written stays", INTERRUPTED)


def _run(options: Options, console: Console) -> int:
    if not options.inputs:
        raise ConfigError("Name at least one image, folder or video after the bundle.")
    sources = find_sources(options.inputs, options.out)
    bundle = open_bundle(options.bundle)
    predictor = load_predictor(bundle, options.threads, options.runtime)
    failed = 0
    with _progress(console) as progress:
        task = progress.add_task("", total=sum(count_frames(source) for source in sources))
        for source in sources:
            progress.update(task, description=source.path.name)
            try:
                for _ in predict_source(source, bundle, predictor, options):
                    progress.advance(task)
            except RequestError as error:
                failed += 1
                _complain(f"{source.path}: {error}", FAILURE)
    written = f"{len(sources) - failed} of {len(sources)} written to {options.out}"
    console.print(f"{written} by {predictor.runtime}", highlight=False)
    return FAILURE if failed else OK


def predict_source(source: Source, bundle: Bundle, predictor: Predictor, options: Options) -> Iterator[None]:
    """Write the results of one image or video; yields after each frame."""
    outputs = writers(source, options.out, options.render, bundle.labels.palette())
    try:
        for image in read_frames(source):
            height, width = image.shape[:2]
            (label_map,) = predictor.predict(bundle.preprocess.resize_image(image)[None], [(height, width)])
            for output in outputs:
                output.write(image, label_map)
            yield
    finally:
        for output in outputs:
            output.close()


def _progress(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True)


def _complain(message: object, code: int) -> int:
    print(f"adaptseg-predict: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
