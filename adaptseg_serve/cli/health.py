"""python -m adaptseg_serve.cli.health: is the server ready that these settings describe? For containers.

Asks this machine's own HTTP door, with or without TLS. Its certificate isn't verified, for it names the host that
clients know; where a client's certificate is wanted (mTLS), the server's own pair is shown.
"""

import contextlib
import http.client
import socket
import ssl
import sys

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.settings import Settings, read_settings

SECONDS = 2.0
PATH = "/readyz"
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def main() -> int:
    """Exit code: 0 ready; 1 not, with the reason in one sentence."""
    try:
        reason = what_is_wrong(read_settings())
    except ConfigError as error:
        reason = str(error)
    if reason:
        print(f"adaptseg-serve: {reason}", file=sys.stderr)
    return 1 if reason else 0


def what_is_wrong(settings: Settings) -> str:
    """A sentence; "" where the server is ready."""
    scheme = "https" if settings.tls_cert else "http"
    address = ANYWHERE.get(settings.http_host, settings.http_host), settings.http_port
    asked = f"{scheme}://{_named(address)}{PATH}"
    try:
        status = _ask(address, settings)
    except (OSError, http.client.HTTPException) as error:
        # An authority that signed the clients' certificates but not the server's: who refuses ours is there at least.
        refused = bool(settings.tls_client_ca) and not isinstance(error, TimeoutError) and _listens(address)
        return "" if refused else f"{asked} doesn't answer ({error}); the server's log says why."
    return "" if status == 200 else f"{asked} answers {status}: the server is loading or draining."


def _ask(address: tuple[str, int], settings: Settings) -> int:
    """HTTP status of GET /readyz."""
    connection = http.client.HTTPConnection(*address, timeout=SECONDS)
    if settings.tls_cert:
        connection = http.client.HTTPSConnection(*address, timeout=SECONDS, context=_trusting(settings))
    with contextlib.closing(connection):
        connection.request("GET", PATH)
        return connection.getresponse().status


def _trusting(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if settings.tls_client_ca:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    return context


def _listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, SECONDS).close()
    except OSError:
        return False
    return True


def _named(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


if __name__ == "__main__":
    sys.exit(main())
