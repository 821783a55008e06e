"""Files that are either there whole or not at all, even after a power cut."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adaptseg_training.errors import StorageError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns the system's errors inside into a StorageError that names `path`."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error.strerror or error}.") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data`: written under another name, flushed to the disk, renamed. StorageError if it can't."""
    temporary = path.with_name(f".{path.name}.saving")
    with writing(path):
        temporary.write_bytes(data)
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)


def make_folder_atomically(path: Path, fill: Callable[[Path], None]) -> None:
    """Make folder `path` with what `fill` writes into it; an existing one is left as it is."""
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}.saving")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    fill(temporary)
    for file in temporary.iterdir():
        flush(file)
    flush(temporary)
    temporary.rename(path)
    flush(path.parent)


def point_to(link: Path, target: Path) -> None:
    """Make `link` a relative symlink to its sibling `target`, replacing what it pointed to."""
    temporary = link.with_name(f".{link.name}.saving")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target.name)
    temporary.replace(link)
    flush(link.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder so that a half-removed one is never taken for a whole one."""
    doomed = path.with_name(f".{path.name}.removing")
    path.rename(doomed)
    shutil.rmtree(doomed)


def remove_scraps(folder: Path) -> None:
    """Remove what a killed process left half-written or half-removed in `folder`."""
    for scrap in (*folder.glob(".*.saving"), *folder.glob(".*.removing")):
        if scrap.is_dir() and not scrap.is_symlink():
            shutil.rmtree(scrap)
        else:
            scrap.unlink()


def flush(path: Path) -> None:
    """fsync a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
