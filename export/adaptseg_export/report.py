"""The figures of an export, for people."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from adaptseg_export.parity import Parity
from adaptseg_serve.bundle import open_bundle


def report(parity: Parity, folder: Path) -> None:
    """Print the parity table, the bundle's size and version, and what to do with it."""
    console = Console()
    console.print(_table(parity))
    console.print(
        f"agreement {parity.agreement:.4%} of pixels (needed {parity.needed:.2%}), "
        f"largest logit difference {max(c.max_logit_difference for c in parity.comparisons):.1e}"
    )
    bundle = open_bundle(folder)
    console.print(f"wrote {folder}  {bundle.model_path.stat().st_size / 1e6:.1f} MB  version {bundle.version}")
    console.print(f"serve it: make serve BUNDLE={folder}", highlight=False)


def _table(parity: Parity) -> Table:
    table = Table(title="graph (onnxruntime) against generator (PyTorch)")
    for heading in ("images", "N x H x W", "pixels that differ", "of them ties", "largest logit difference"):
        table.add_column(heading, justify="left" if heading == "images" else "right")
    for c in parity.comparisons:
        shape = " x ".join(map(str, c.shape))
        table.add_row(c.name, shape, str(c.disagreeing), str(c.ties), f"{c.max_logit_difference:.1e}")
    return table
