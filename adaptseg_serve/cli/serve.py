"""adaptseg-serve: check everything that can be wrong, then become `bentoml serve`."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from adaptseg_serve import tracing
from adaptseg_serve.bundle import open_bundle
from adaptseg_serve.errors import AdaptSegError, ConfigError
from adaptseg_serve.ports import check_ports
from adaptseg_serve.predictor import load_predictor, warm_up
from adaptseg_serve.security import Tokens, check_tls
from adaptseg_serve.settings import Settings, read_settings

SERVICE = "adaptseg_serve.service:SegmentationService"
FAILURE, USAGE = 1, 2


@dataclass(frozen=True)
class Options:
    """Serve the bundle that ADAPTSEG_BUNDLE names (the packaged one if unset), over HTTP and gRPC.

    Settings are ADAPTSEG_* variables; --check prints them. What can't work is said here, in one sentence, before any
    server starts: settings, certificates, tokens, ports, and the bundle, which is verified, loaded and run once.
    """

    check: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the effective settings and what was checked, then end: exit code 0, or 1 or 2 with the reason."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 checked, 1 the bundle can't be served, 2 a setting is wrong. Without --check it doesn't return."""
    options = tyro.cli(Options, prog="adaptseg-serve", args=argv)
    try:
        settings = read_settings()
        checked = check(settings)
    except AdaptSegError as error:
        print(f"adaptseg-serve: {error}", file=sys.stderr)
        return USAGE if isinstance(error, ConfigError) else FAILURE
    if not options.check:
        print(f"adaptseg-serve: {checked}", file=sys.stderr)
        # BentoML's command asks before it imports our service, so process.py's word would come too late.
        os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
        os.execv(sys.executable, command(settings))
    print(settings)
    print(checked)
    return 0


def check(settings: Settings) -> str:
    """What was found, in a line. Raises ConfigError or BundleError, with how to mend it."""
    tls = check_tls(settings)
    tracing.check(settings.traces)
    if settings.tokens_file:
        Tokens(Path(settings.tokens_file))
    bundle = open_bundle(settings.bundle)
    check_ports((settings.http_host, settings.http_port), (settings.grpc_host, settings.grpc_port))
    predictor = load_predictor(bundle, settings.threads, settings.runtime, settings.engine)
    warm_up(predictor, bundle.preprocess.size)
    doors = f"{'https' if tls else 'http'}://{settings.http_host}:{settings.http_port}"
    if settings.grpc_port:
        doors += f" and {'grpcs' if tls else 'grpc'}://{settings.grpc_host}:{settings.grpc_port}"
    return f"{bundle.name} {bundle.version} is verified and runs on {predictor.runtime}, for {doors}"


def command(settings: Settings) -> list[str]:
    """The arguments of `bentoml serve`, the interpreter first."""
    address = ["--host", settings.http_host, "--port", str(settings.http_port)]
    return [sys.executable, "-m", "bentoml", "serve", SERVICE, *address]


if __name__ == "__main__":
    sys.exit(main())
