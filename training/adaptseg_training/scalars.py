"""Scalars of a run, to scalars.csv and TensorBoard."""

import csv
from pathlib import Path
from typing import Any

from adaptseg_training.files import write_atomically


class Scalars:
    """Appends rows; on resume first drops those after the resumed step, so that no step is there twice."""

    def __init__(self, run: Path, start: int) -> None:
        self._path = run / "scalars.csv"
        self._columns = _keep_until(self._path, start)
        self._board = _board(run / "tensorboard", start)

    def add(self, step: int, values: dict[str, float]) -> None:
        """One row: `step` and `values` by name; the first row's names are the columns."""
        if not self._columns:
            self._columns = ["step", *values]
            self._write(self._columns)
        row = {"step": step, **values}
        self._write([_text(row.get(column, "")) for column in self._columns])
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        self._board.close()

    def _write(self, row: list[str]) -> None:
        with self._path.open("a", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerow(row)


def _text(value: float | str) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _board(folder: Path, start: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=start + 1 if start else None)


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
