"""Are the doors' ports free? Asked before a server starts, when the answer can still be one sentence."""

import socket

from adaptseg_serve.errors import ConfigError


def check_ports(http: tuple[str, int], grpc: tuple[str, int]) -> None:
    """Each is (address, port); port 0 is a closed door. ConfigError where one can't be opened."""
    _check("HTTP", *http)
    if grpc[1]:
        _check("gRPC", *grpc)


def _check(door: str, host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            name = door.upper()
            raise ConfigError(
                f"The {door} door can't open on {host}:{port} ({error.strerror}). Stop what is there, or set "
                f"ADAPTSEG_{name}_PORT (with make: {name}_PORT) to a free port, and ADAPTSEG_{name}_HOST to an address "
                "of this machine."
            ) from None
