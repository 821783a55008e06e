"""ADAPTSEG_CORS_ORIGINS: pages from those origins may ask from a browser, pages from others not; off by default."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
import schemathesis
from helpers.serving import Server, serving
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

ALLOWED, OTHER = "https://maps.example:8443", "https://evil.example"
PNG = cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes()


@pytest.fixture(scope="module")
def opened(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Lets pages of ALLOWED in, and asks for a token, which no preflight carries."""
    folder = tmp_path_factory.mktemp("cors")
    (folder / "tokens").write_text("secret\n")
    tokens = str(folder / "tokens")
    with serving(tiny_bundle, folder, ADAPTSEG_CORS_ORIGINS=ALLOWED, ADAPTSEG_TOKENS_FILE=tokens) as server:
        yield server


def preflight(
    server: Server, origin: str, headers: str = "authorization,content-type,x-request-timeout-ms"
) -> httpx.Response:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": headers}
    return httpx.options(f"{server.http_url}/v1/segment", headers={"Origin": origin, **asked})


def ask(server: Server, origin: str, token: str = "secret") -> httpx.Response:
    headers = {"Origin": origin, "Content-Type": "image/png", "Authorization": f"Bearer {token}"}
    return httpx.post(f"{server.http_url}/v1/segment", content=PNG, headers=headers, timeout=30)


def test_a_preflight_is_answered_without_a_token(opened: Server) -> None:
    answer = preflight(opened, ALLOWED)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert "access-control-allow-credentials" not in answer.headers
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert {"authorization", "content-type", "x-request-timeout-ms", "traceparent"} <= allowed
    assert preflight(opened, ALLOWED, "x-other").status_code == 400


def test_an_allowed_page_reads_the_answer_and_its_headers(opened: Server) -> None:
    answer = ask(opened, ALLOWED)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    ours = {name for name in answer.headers if name.startswith("x-") or name == "server-timing"}
    assert len(ours) >= 3
    assert ours <= exposed
    assert "origin" in answer.headers["vary"].lower()


def test_an_allowed_page_reads_why_it_was_refused(opened: Server) -> None:
    answer = ask(opened, ALLOWED, token="wrong")
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert answer.json()["type"].endswith("unauthenticated")


def test_another_page_gets_no_leave(opened: Server) -> None:
    for origin in (OTHER, "null", f"{ALLOWED}.evil.example"):
        assert preflight(opened, origin).status_code == 400
        assert "access-control-allow-origin" not in ask(opened, origin).headers


def test_it_is_off_by_default(server: Server) -> None:
    for answer in (preflight(server, ALLOWED), ask(server, ALLOWED)):
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_openapi_document_holds_for_pages_elsewhere(opened: Server) -> None:
    """schemathesis, as a page from ALLOWED would send it."""
    schema = schemathesis.openapi.from_url(f"{opened.http_url}/openapi.json")
    headers = {"Origin": ALLOWED, "Authorization": "Bearer secret"}
    for path, method in (
        ("/v1/labels", "get"),
        ("/v2/models/{model}/stats", "get"),
        ("/v2/models/{model}/infer", "post"),
    ):

        @settings(
            max_examples=10,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=schema[path][method].as_strategy())
        def conforms(case: Case) -> None:
            response = case.call(headers=headers)
            assert response.headers["access-control-allow-origin"] == [ALLOWED]
            case.validate_response(response, checks=[status_code_conformance, response_schema_conformance])

        conforms()
