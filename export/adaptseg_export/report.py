"""The figures of an export, for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from adaptseg_export.verify import Check
from adaptseg_serve.bundle import open_bundle

if TYPE_CHECKING:  # torch: a serving machine verifies without it
    from adaptseg_export.parity import Parity


def report(parity: "Parity", folder: Path) -> None:
    """Print the parity table, the bundle's size and version, and what to do with it."""
    console = wide_console()
    console.print(_table(parity))
    console.print(
        f"agreement {parity.agreement:.4%} of pixels (needed {parity.needed:.2%}), "
        f"largest logit difference {max(c.max_logit_difference for c in parity.comparisons):.1e}"
    )
    bundle = open_bundle(folder)
    console.print(f"wrote {folder}  {bundle.model_path.stat().st_size / 1e6:.1f} MB  version {bundle.version}")
    console.print(f"serve it: make serve BUNDLE={folder}", highlight=False)


def wide_console(stderr: bool = False) -> Console:
    """As wide as the terminal, and wide enough for our tables where there is none."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=160)


def report_checks(checks: Sequence[Check]) -> None:
    """Print one row for each runtime, and what fails."""
    table = Table(title="this machine's runtimes against onnxruntime-cpu on model.onnx, and that against the record")
    for heading in ("runtime", "graph", "agree", "differ", "ties", "sure agree", "logits differ", "mIoU", "verdict"):
        table.add_column(heading, justify="left" if heading in ("runtime", "graph", "verdict") else "right")
    for check in checks:
        found = check.agreement
        differ = sum(c.disagreeing for c in found.comparisons), sum(c.ties for c in found.comparisons)
        mious = ", ".join(f"{miou:.4f}" for miou in found.miou.values() if miou is not None)
        cells = (f"{found.pixels:.4%}", *map(str, differ), f"{found.sure:.4%}", f"{found.max_logit_difference:.1e}")
        table.add_row(found.runtime, found.graph, *cells, mious, check.fault or "ok")
    wide_console().print(table)


def _table(parity: "Parity") -> Table:
    table = Table(title="graph (onnxruntime) against generator (PyTorch)")
    for heading in ("images", "N x H x W", "pixels that differ", "of them ties", "largest logit difference"):
        table.add_column(heading, justify="left" if heading == "images" else "right")
    for c in parity.comparisons:
        shape = " x ".join(map(str, c.shape))
        table.add_row(c.name, shape, str(c.disagreeing), str(c.ties), f"{c.max_logit_difference:.1e}")
    return table
