"""Files that are either there whole or not at all, even after a power cut."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data`: written under another name, flushed to the disk, renamed."""
    temporary = path.with_name(f".{path.name}.saving")
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


def remove_folder(path: Path) -> None:
    """Remove a folder so that a half-removed one is never taken for a whole one."""
    doomed = path.with_name(f".{path.name}.removing")
    path.rename(doomed)
    shutil.rmtree(doomed)


def flush(path: Path) -> None:
    """fsync a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
