"""Ports that are tried before a server starts: taken by somebody, or by the other door."""

import socket

import pytest
from helpers.serving import free_port

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.ports import check_ports

HERE, EVERYWHERE = "127.0.0.1", "0.0.0.0"


@pytest.mark.parametrize("http", [HERE, EVERYWHERE])
@pytest.mark.parametrize("grpc", [HERE, EVERYWHERE])
def test_two_doors_on_one_port_are_one_sentence(http: str, grpc: str) -> None:
    port = free_port()
    with pytest.raises(ConfigError, match=f"port {port} .*ADAPTSEG_HTTP_PORT or ADAPTSEG_GRPC_PORT"):
        check_ports((http, port), (grpc, port))


def test_one_port_of_two_addresses_is_two_doors() -> None:
    port = free_port()
    check_ports((HERE, port), ("127.0.0.2", port))


@pytest.mark.parametrize("door", ["HTTP", "gRPC"])
def test_a_port_of_somebody_else_is_named(door: str) -> None:
    free = free_port()
    with socket.create_server((HERE, 0)) as other:
        taken: int = other.getsockname()[1]
        ports = (taken, free) if door == "HTTP" else (free, taken)
        with pytest.raises(ConfigError, match=f"The {door} door can't open on 127.0.0.1:{taken} .*{door.upper()}_PORT"):
            check_ports((HERE, ports[0]), (HERE, ports[1]))
    check_ports((HERE, taken), (HERE, free))


def test_an_address_of_another_machine_is_no_clash_of_doors() -> None:
    port = free_port()
    with pytest.raises(ConfigError, match=r"The gRPC door can't open on 192\.0\.2\.1"):
        check_ports((HERE, port), ("192.0.2.1", port))


@pytest.mark.parametrize("name", ["localhost", "", "example.com"])
def test_the_http_doors_address_is_no_name(name: str) -> None:
    """BentoML takes none, and says so only after it has begun to start."""
    with pytest.raises(ConfigError, match=r"must be an IP address: 127\.0\.0\.1 .*ADAPTSEG_HTTP_HOST"):
        check_ports((name, free_port()), (HERE, free_port()))


def test_a_closed_grpc_door_takes_no_port() -> None:
    check_ports((HERE, free_port()), (HERE, 0))
