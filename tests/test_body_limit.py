"""A body beyond the limit: whoever sends one can read why it was refused, even one who reads only after sending."""

import json
import socket
from urllib.parse import urlsplit

import pytest
from helpers.serving import Server

BODY = bytes(8 << 20)
PLAIN = b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


def send_all_then_read(server: Server, path: str, rest: bytes) -> tuple[str, dict[str, str]]:
    place = urlsplit(server.http_url)
    with socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=10) as client:
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n".encode() + rest)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode().splitlines()[0], json.loads(body)


@pytest.mark.parametrize("rest", [PLAIN, CHUNKED], ids=["plain", "chunked"])
@pytest.mark.parametrize(("path", "field"), [("/v1/segment", "detail"), ("/v2/models/tiny/infer", "error")])
def test_the_refusal_is_read_after_a_whole_upload(strict: Server, path: str, field: str, rest: bytes) -> None:
    status, said = send_all_then_read(strict, path, rest)
    assert status.startswith("HTTP/1.1 413")
    assert "at most 100000 are accepted" in said[field]
    assert ("type" in said) == (path == "/v1/segment")
