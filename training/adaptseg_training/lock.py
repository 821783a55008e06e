"""One process at a time in a run's folder."""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adaptseg_serve.errors import ConfigError

NAME = ".lock"


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold `run` for this process. ConfigError, naming who has it, if another one does.

    The kernel lets go of it when the process dies, however it dies. A POSIX lock rather than flock's: the processes
    that decode images would inherit the latter, and hold it for seconds after a kill -9 of this one.
    """
    path = run / NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise ConfigError(f"{run} can't be used for the run: {error}.") from error
    try:
        _take(descriptor, run)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, run: Path) -> None:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise ConfigError(
                f"{run} can't be locked for one process alone: {error}. Its file system may have no locks; "
                "choose another --run.dir."
            ) from error
        holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
        raise ConfigError(
            f"{run} is in use by {holder}. Wait until it is done or end it, or choose another --run.name."
        ) from error
