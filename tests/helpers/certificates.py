"""Certificates for tests, made by the openssl command: an authority, a server's and a client's, all valid for a day."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    certificate: Path
    key: Path


def authority(folder: Path, name: str = "authority") -> Pair:
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    _openssl("req", "-x509", *_new(pair, name), "-addext", "basicConstraints=critical,CA:TRUE")
    return pair


def signed(folder: Path, name: str, by: Pair) -> Pair:
    """A certificate for 127.0.0.1 and localhost, good for servers and for clients."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    _openssl("req", "-x509", *_new(pair, name), "-CA", by.certificate, "-CAkey", by.key, "-addext", names)
    return pair


def _new(pair: Pair, name: str) -> list[str | Path]:
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    return [*curve, "-subj", f"/CN={name}", "-keyout", pair.key, "-out", pair.certificate]


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
