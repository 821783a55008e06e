"""Every setting of the service, read once from `ADAPTSEG_*` environment variables.

`python -m adaptseg_serve.settings` prints the effective values, each under the name of its variable.
"""

import difflib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from adaptseg_serve.bundle import packaged_bundle
from adaptseg_serve.errors import ConfigError
from adaptseg_serve.origins import Origins
from adaptseg_serve.runtimes.names import RUNTIMES
from adaptseg_serve.runtimes.wishes import EngineWishes

PREFIX = "ADAPTSEG_"
MIB = 1 << 20
PACKAGED = packaged_bundle()


def _setting(default: Any, meaning: str, low: float = 0, high: float = float("inf")) -> Any:
    return field(default=default, metadata={"meaning": meaning, "low": low, "high": high})


def _choice(choices: tuple[str, ...], meaning: str) -> Any:
    return field(default=choices[0], metadata={"meaning": f"{meaning} ({', '.join(choices)})", "choices": choices})


@dataclass(frozen=True)
class Settings:
    """The service's settings; field `max_body_bytes` is the variable ADAPTSEG_MAX_BODY_BYTES."""

    bundle: Path = _setting(PACKAGED, "directory of the bundle to serve")  # noqa: RUF009 (a Path is immutable)
    bundle_watch: float = _setting(
        0.0, "seconds between two looks for another bundle in that directory, swapped in under load; 0: none", 0, 3600
    )
    workers: int = _setting(1, "processes that serve, each with the bundle, a queue and threads of its own", 1, 256)
    http_host: str = _setting("127.0.0.1", "address of the HTTP door; `bentoml serve --host` goes before it")
    http_port: int = _setting(3000, "port of the HTTP door; `bentoml serve --port` goes before it", 1, 65535)
    grpc_host: str = _setting("127.0.0.1", "address of the gRPC door")
    grpc_port: int = _setting(3001, "port of the gRPC door; 0 closes that door", 0, 65535)
    grpc_connection_age: float = _setting(
        0.0, "seconds after which a gRPC connection is to be made anew, maybe to another replica; 0: never", 0, 86_400
    )
    tls_cert: str = _setting("", "PEM file of the certificate of both doors; with tls_key they speak TLS")
    tls_key: str = _setting("", "PEM file of that certificate's private key")
    tls_client_ca: str = _setting("", "PEM file of the authority whose clients are let in (mTLS)")
    tokens_file: str = _setting("", "file of the bearer tokens that are let in, one a line; empty: everybody is")
    cors_origins: Origins = _setting(  # noqa: RUF009 (a str is immutable)
        Origins(), "origins of web pages elsewhere that may ask from a browser, commas between; empty: none"
    )
    max_body_bytes: int = _setting(16 * MIB, "largest request body and gRPC message, in bytes", 1024, (1 << 31) - 1)
    max_held_bytes: int = _setting(
        256 * MIB, "most bytes of HTTP bodies that a worker holds at once; more get a 503", MIB
    )
    max_pixels: int = _setting(16_000_000, "largest image, in pixels (height x width)", 1)
    max_batch: int = _setting(8, "most images in one run of the network", 1, 1024)
    max_delay: float = _setting(0.0, "seconds an idle device waits for company; 0: it never waits", 0, 10)
    queue_depth: int = _setting(0, "most images that wait for the device; 0: twice max_batch", 0)
    queue_bytes: int = _setting(256 * MIB, "most bytes of images that wait for the device", MIB)
    runtime: str = _choice(RUNTIMES, "what runs the graph; adaptseg-bench compares them")
    threads: int = _setting(0, "threads of the runtime; 0: the runtime chooses", 0, 1024)
    plan_fits: str = _choice(
        ("here", "releases", "gpus", "everywhere"),
        "where else TensorRT's plans shall fit: later releases of one major version, GPUs from Ampere on",
    )
    codec_threads: int = _setting(2, "threads that decode and encode images", 1, 1024)
    timeout: float = _setting(30.0, "seconds after which a request without a deadline of its own expires", 0.001, 3600)
    log_format: str = _choice(("text", "json"), "format of the log: one line a request")
    log_level: str = _choice(("info", "debug", "warning", "error"), "least level that is logged")
    traces: str = _choice(("none", "otlp", "console"), "where OpenTelemetry spans go; OTEL_* variables say the rest")
    max_streams: int = _setting(128, "gRPC streams that may be open at once, over all connections", 1, 100_000)
    # Read by runtimes.plan_cache itself, which commands without settings use, too.
    plan_cache: str = _setting("", "folder of TensorRT's plans; its owner alone may write there")
    drift_every: int = _setting(10, "one image in this many is looked at for the drift metrics; 0: none", 0)
    drift_window: int = _setting(500, "images that were looked at over which the drift metrics are means", 1, 100_000)
    drain_notice: float = _setting(1.0, "seconds after SIGTERM in which the doors still say that they drain", 0, 600)
    drain_grace: float = _setting(8.0, "seconds that in-flight work may then take", 0, 600)

    @property
    def depth(self) -> int:
        """Most images that wait: `queue_depth`, or twice `max_batch` where that is 0."""
        return self.queue_depth or 2 * self.max_batch

    @property
    def engine(self) -> EngineWishes:
        """What TensorRT's engines are built for."""
        fits = self.plan_fits
        return EngineWishes(self.max_batch, fits in ("releases", "everywhere"), fits in ("gpus", "everywhere"))

    def __str__(self) -> str:
        return "\n".join(f"{variable(f.name)}={getattr(self, f.name)}  # {f.metadata['meaning']}" for f in fields(self))


_WANTED = {
    int: "a whole number",
    float: "a number",
    Origins: "exact origins such as https://maps.example:8443, never * or null",
}


def variable(name: str) -> str:
    """Name of the environment variable of field `name`."""
    return PREFIX + name.upper()


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings that `environ` asks for; ConfigError names the variable that is wrong and how to mend it."""
    known = {variable(f.name): f for f in fields(Settings)}
    _refuse_misspelt(environ, known)
    return Settings(**{f.name: _parse(name, environ[name], f) for name, f in known.items() if environ.get(name)})


def _refuse_misspelt(environ: Mapping[str, str], known: Mapping[str, Any]) -> None:
    """Variables far from every known name are some other tool's and pass."""
    for name in environ:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.88) if name.startswith(PREFIX) else []
        if near and name not in known:
            raise ConfigError(f"{name} is not a setting; perhaps you meant {near[0]}. Rename it or unset it.")


def _parse(name: str, text: str, spec: Any) -> Any:
    kind = spec.type
    try:
        value = kind(text)
    except ValueError:
        raise ConfigError(_complaint(name, text, _WANTED[kind], spec)) from None
    if (choices := spec.metadata.get("choices")) and value not in choices:
        raise ConfigError(_complaint(name, text, f"one of {', '.join(choices)}", spec))
    low, high = spec.metadata.get("low"), spec.metadata.get("high")
    if kind in (int, float) and not low <= value <= high:
        bounds = f"at least {low}" if high == float("inf") else f"between {low} and {high}"
        raise ConfigError(_complaint(name, text, bounds, spec))
    return value


def _complaint(name: str, text: str, wanted: str, spec: Any) -> str:
    default = "none" if spec.default == "" else spec.default
    return f"{name}={text!r} must be {wanted} ({spec.metadata['meaning']}). Set it, or unset it for {default}."


if __name__ == "__main__":
    try:
        print(read_settings())
    except ConfigError as error:
        sys.exit(f"adaptseg-serve: {error}")
