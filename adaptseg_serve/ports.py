"""Are the doors' ports free? Asked before a server starts, when the answer can still be one sentence."""

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterator

from adaptseg_serve.errors import ConfigError

Address = tuple[str, int]
"""(host, port)."""


def check_ports(http: Address, grpc: Address) -> None:
    """Each is (address, port); port 0 is a closed door. ConfigError where one can't be opened beside the other, or
    where the HTTP door's address is a name: BentoML takes none."""
    try:
        ipaddress.ip_address(http[0])
    except ValueError:
        raise ConfigError(
            f"The HTTP door's address is {http[0]!r}; it must be an IP address: 127.0.0.1 for this machine alone, "
            "0.0.0.0 for all. Set ADAPTSEG_HTTP_HOST (with make: HOST)."
        ) from None
    with _open("HTTP", http):
        if grpc[1]:
            _check_grpc(http, grpc)


def _check_grpc(http: Address, grpc: Address) -> None:
    """While the HTTP door holds its port."""
    try:
        with _open("gRPC", grpc):
            pass
    except _InUse:
        if grpc[1] != http[1]:
            raise
        raise ConfigError(
            f"Both doors are set to port {http[1]} (HTTP on {http[0]}, gRPC on {grpc[0]}). Set ADAPTSEG_HTTP_PORT or "
            "ADAPTSEG_GRPC_PORT (with make: HTTP_PORT, GRPC_PORT) to another one."
        ) from None


class _InUse(ConfigError):
    """Somebody has the port."""


@contextlib.contextmanager
def _open(door: str, address: Address) -> Iterator[None]:
    """Hold `address` for the block. It listens: with SO_REUSEADDR the system gives a port that is only bound twice."""
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen()
        except OSError as error:
            name = door.upper()
            kind = _InUse if error.errno == errno.EADDRINUSE else ConfigError
            raise kind(
                f"The {door} door can't open on {host}:{port} ({error.strerror}). Stop what is there, or set "
                f"ADAPTSEG_{name}_PORT (with make: {name}_PORT) to a free port, and ADAPTSEG_{name}_HOST to an address "
                "of this machine."
            ) from None
        yield
