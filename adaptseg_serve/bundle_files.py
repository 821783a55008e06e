"""Files of a bundle as bytes. Each is opened once, and what was checked is what is handed on.

A path is not trusted to stay what it was: every check is made of the opened file, never of its name.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

from adaptseg_serve.errors import BundleError

MANIFEST = "bundle.json"
MAX_MANIFEST_BYTES = 1 << 20
MAX_FILE_BYTES = 2 << 30
"""What a protobuf message, hence an ONNX file, can hold at most."""
MAX_FILES = 64

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


def file_record(path: Path) -> dict[str, Any]:
    """The `files` entry of one file: {"sha256": hex, "bytes": int}."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return {"sha256": digest, "bytes": os.fstat(stream.fileno()).st_size}


def read_small(path: Path) -> bytes:
    """A manifest, or parity.json; BundleError above MAX_MANIFEST_BYTES."""
    with _open(path) as stream:
        data = stream.read(MAX_MANIFEST_BYTES + 1)
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} has more than {MAX_MANIFEST_BYTES} bytes; a manifest has at most that many.")
    return data


def read_listed(folder: Path, name: str, files: Mapping[str, Any]) -> bytes:
    """File `name` of an opened bundle: what is returned has the digest that `files` gives. BundleError otherwise."""
    path, record = folder / name, files[name]
    with _open(path) as stream:
        data = stream.read(int(record["bytes"]) + 1)
    if hashlib.sha256(data).hexdigest() != record["sha256"]:
        raise BundleError(f"{path} changed after the bundle was opened. Open the bundle again.")
    return data


def check_files(folder: Path, files: Mapping[str, Any]) -> None:
    """BundleError unless every file that the manifest lists is there, as large and with the digest that it says."""
    if len(files) > MAX_FILES:
        raise BundleError(f"{folder / MANIFEST}: 'files' lists {len(files)} files; a bundle has at most {MAX_FILES}.")
    for name, record in files.items():
        _check_entry(folder, name, record)
    for name, record in files.items():
        _check_file(folder / name, record)


def _check_entry(folder: Path, name: str, record: Any) -> None:
    if not _NAME.fullmatch(name) or name.lower() == MANIFEST:
        raise BundleError(
            f"{folder / MANIFEST}: 'files' names {name!r}; only plain file names are allowed (ASCII letters, digits, "
            "dots, dashes and underscores)."
        )
    if not (isinstance(record, dict) and isinstance(record.get("sha256"), str) and type(record.get("bytes")) is int):
        raise BundleError(f"{folder / MANIFEST}: files[{name!r}] must hold sha256 and bytes.")
    if not 0 <= record["bytes"] <= MAX_FILE_BYTES:
        raise BundleError(f"{folder / MANIFEST}: files[{name!r}] must have 0 to {MAX_FILE_BYTES} bytes.")


def _check_file(path: Path, record: Mapping[str, Any]) -> None:
    with _open(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size != record["bytes"]:
            raise BundleError(
                f"{path} has {size} bytes, {MANIFEST} says {record['bytes']}. "
                "The copy is incomplete or the file was changed: copy the bundle again."
            )
        if hashlib.file_digest(stream, "sha256").hexdigest() != record["sha256"]:
            raise BundleError(
                f"{path}: wrong checksum (sha256 differs from {MANIFEST}). "
                "The file was changed or damaged: copy the bundle again, or export it again."
            )


def _open(path: Path) -> BufferedReader:
    """`path` opened to read; BundleError unless it is a regular file. Neither follows a link nor waits for a pipe."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BundleError(
                f"{path} is a symbolic link, which a bundle may not hold. Copy the bundle with what it points to: "
                f"cp -rL {path.parent} COPY."
            ) from error
        raise BundleError(
            f"{path} is listed in {MANIFEST} but is not there, or can't be read ({error.strerror}). "
            "Copy the bundle again, whole."
        ) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise BundleError(f"{path} is not a file, but a folder, a pipe or a device. Copy the bundle again, whole.")
    return os.fdopen(handle, "rb")
