"""Scalars of a run, to scalars.csv and TensorBoard."""

import csv
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adaptseg_training.data.sample import Image
from adaptseg_training.files import write_atomically, writing


class Scalars:
    """Appends rows; on resume first drops those after the resumed step, so that no step is there twice.

    StorageError, from any method, if a file can't be written.
    """

    def __init__(self, run: Path, start: int) -> None:
        self._path = run / "scalars.csv"
        self._columns = _keep_until(self._path, start)
        self._folder = run / "tensorboard"
        with writing(self._folder):
            self._board = _board(self._folder, start)

    def add(self, step: int, values: dict[str, float]) -> None:
        """One row: `step` and `values` by name. A new name, as a resume with other flags brings it, is a new column."""
        if not self._columns:
            self._columns = ["step", *values]
            self._write(self._columns)
        elif new := [name for name in values if name not in self._columns]:
            self._columns += new
            _widen(self._path, self._columns)
        row = {"step": step, **values}
        self._write([_text(row.get(column, "")) for column in self._columns])
        with writing(self._folder):  # TensorBoard writes in a thread: what went wrong there is raised by the next call
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def add_scores(self, step: int, metrics: Mapping[str, Any]) -> None:
        """An evaluation's numbers, to TensorBoard only: metrics.json holds them all."""
        with writing(self._folder):
            for name, value in _numbers(metrics, "score"):
                self._board.add_scalar(name, value, step)

    def add_picture(self, step: int, picture: Image) -> None:
        """A preview, (H, W, 3) uint8 RGB, to TensorBoard; previews/ holds it as a file."""
        with writing(self._folder):
            self._board.add_image("preview", picture, step, dataformats="HWC")

    def close(self) -> None:
        with writing(self._folder):
            self._board.close()

    def _write(self, row: list[str]) -> None:
        with writing(self._path), self._path.open("a", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerow(row)


def _numbers(metrics: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    """Numbers by name, those of an inner mapping behind its name; what is no number is left out."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}/{name}")
        elif isinstance(value, int | float):
            yield f"{prefix}/{name}", value


def _text(value: float | str) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _board(folder: Path, start: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    threading.excepthook = _without_board
    return SummaryWriter(str(folder), purge_step=start + 1 if start else None)


def _without_board(args: threading.ExceptHookArgs) -> None:
    """TensorBoard's thread prints no traceback when the disk is full: `Scalars` says it in a sentence."""
    if not (type(args.thread).__name__ == "_AsyncWriterThread" and isinstance(args.exc_value, OSError)):
        threading.__excepthook__(args)


def _widen(path: Path, columns: list[str]) -> None:
    """The file with `columns`, of which its rows have the first."""
    with writing(path):
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
    rows = [",".join(columns), *(line + "," * (len(columns) - 1 - line.count(",")) for line in lines)]
    write_atomically(path, "".join(f"{row}\r\n" for row in rows).encode())


def _keep_until(path: Path, step: int) -> list[str]:
    """Drop whole and torn rows behind `step`; returns the columns, none for a new file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    header = rows[0] if rows else []
    kept = [r for r in rows[1:] if len(r) == len(header) and r[0].isdigit() and int(r[0]) <= step]
    lines = "".join(",".join(row) + "\r\n" for row in [header, *kept] if row)
    write_atomically(path, lines.encode())
    return header
