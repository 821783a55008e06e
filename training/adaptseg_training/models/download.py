"""Weights files from the web into PyTorch's cache (TORCH_HOME), whole and checked or not at all."""

import hashlib
import logging
import os
import re
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO
from urllib.parse import unquote, urldefrag, urlsplit

import torch

from adaptseg_serve.errors import ConfigError
from adaptseg_training.files import flush

TIMEOUT = 60.0
"""Seconds without a byte after which a download has failed."""
_CHUNK = 1 << 20

_log = logging.getLogger(__name__)


def download(place: str) -> Path:
    """Fetch `place`, an address that may end in `#sha256=<64 hex digits>`, once; returns the cached file's path.

    A cached file is checked against the digest, too. Plain http is taken with a digest only, since anybody on the way
    could put in other weights. ConfigError says what went wrong and how to do without the download.
    """
    url, fragment = urldefrag(place)
    digest = _digest(place, fragment)
    if not digest and urlsplit(url).scheme != "https":
        raise ConfigError(f"{url} is not https. Use https, or add the file's digest: {url}#sha256=<64 hex digits>")
    # Two sites may call different files by the same name; the address's own digest tells them apart.
    return _cached(url, f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{_name(url)}", digest)


def download_torchvision(url: str) -> Path:
    """As `download`, for URLs whose file name ends in the first digits of its SHA-256; cached as torchvision does."""
    digits = re.search(r"-([a-f0-9]{8,})\.", _name(url))
    return _cached(url, _name(url), digits[1] if digits else "")


def _name(url: str) -> str:
    return Path(unquote(urlsplit(url).path)).name


def _digest(place: str, fragment: str) -> str:
    if not fragment:
        return ""
    digest = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", fragment)
    if digest is None:
        raise ConfigError(f"{place}: what follows # must be sha256= and 64 hex digits, as sha256sum prints them.")
    return digest[1].lower()


def _cached(url: str, name: str, digest: str) -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if path.is_file():
        if digest and not _sha256(path).startswith(digest):
            raise ConfigError(f"{path} is not the file that sha256 {digest} stands for; delete it to fetch it again.")
        return path
    _log.info("downloading %s to %s", url, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url, path, digest)
    except (OSError, ValueError, HTTPException) as error:  # URLError and HTTPError are OSErrors
        raise ConfigError(
            f"can't download {url}: {error}. Download it elsewhere and give its path: --generator.weights PATH."
        ) from error
    return path


def _fetch(url: str, path: Path, digest: str) -> None:
    """`path` appears under its name only once it is whole and has the digest."""
    handle, name = mkstemp(dir=path.parent, prefix=f".{path.name}.")
    part, seen = Path(name), hashlib.sha256()
    try:
        with os.fdopen(handle, "wb") as stream, urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            if not digest and urlsplit(answer.url).scheme != "https":
                raise OSError(f"it leads to {answer.url}, which is not https")
            for chunk in _chunks(answer):
                seen.update(chunk)
                stream.write(chunk)
            expected = answer.headers.get("Content-Length")
        if expected is not None and part.stat().st_size != int(expected):
            raise OSError(f"{part.stat().st_size} of {expected} bytes arrived")
        if not seen.hexdigest().startswith(digest):
            raise OSError(f"its sha256 is {seen.hexdigest()}, not {digest}")
        flush(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk
