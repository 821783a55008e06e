"""Where this machine keeps what it compiled. A TensorRT plan is code: never read from a bundle, only from here."""

import hashlib
import logging
import os
import tempfile
from dataclasses import astuple, dataclass
from pathlib import Path

from adaptseg_serve.errors import ConfigError

FOLDER_VARIABLE = "ADAPTSEG_PLAN_CACHE"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlanKey:
    """Everything that a plan depends on; another value of any field is another plan."""

    onnx_sha256: str
    gpu: str
    """Name and compute capability: "NVIDIA H200 9.0"."""
    tensorrt: str
    """Version of the library."""
    precision: str
    shapes: str = ""
    """Optimisation profile and build options, written out."""

    @property
    def name(self) -> str:
        digest = hashlib.sha256("\0".join(astuple(self)).encode()).hexdigest()
        return f"{self.onnx_sha256[:12]}-{self.precision}-{digest[:20]}.plan"


def cache_folder(part: str = "") -> Path:
    """$ADAPTSEG_PLAN_CACHE, or adaptseg/plans in the user's cache; made if missing, for its owner alone.

    `part` names a folder in it.

    ConfigError if someone else owns or may write it: what lies there is run as code.
    """
    folder = Path(os.environ.get(FOLDER_VARIABLE) or _default())
    for inner in (folder, folder / part) if part else (folder,):
        _own(inner)
    return folder / part


def _default() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adaptseg" / "plans"


def _own(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.stat()
    except OSError as error:
        raise ConfigError(
            f"{folder}, where this machine keeps its compiled plans, can't be made ({error.strerror}). "
            f"Set {FOLDER_VARIABLE} to a folder that can be written."
        ) from error
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ConfigError(
            f"{folder} holds compiled plans, but others than you may write there. "
            f"Mend it: chmod go-w {folder}, or set {FOLDER_VARIABLE} to a folder of your own."
        )


def read(name: str) -> bytes | None:
    """What was stored as `name` on this machine, or None."""
    path = cache_folder() / name
    return path.read_bytes() if path.is_file() and not path.is_symlink() else None


def store(name: str, data: bytes) -> None:
    """Store `data` whole or not at all; another process that stores the same at the same time does no harm.

    Where that fails (the disk is full), a warning says so: the plan is here, and only to be built again next time.
    """
    folder = cache_folder()
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(temporary).replace(folder / name)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        _log.warning("%s can't be stored (%s); the next start builds it again", folder / name, error.strerror)
    else:
        _log.info("stored %s", folder / name)
