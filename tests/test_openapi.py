"""schemathesis on both OpenAPI documents, against a real server: every answer is one that the document names."""

import cv2
import numpy as np
import pytest
import schemathesis
from helpers.serving import Server
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from adaptseg_serve.http.openapi import document

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)
FILES = [cv2.imencode(kind, PIXELS)[1].tobytes() for kind in (".png", ".jpg")]
BODIES = [*FILES, *(file[: len(file) // 2] for file in FILES), b"", b"GIF89a"]

images = st.sampled_from(BODIES) | st.binary(max_size=64)
for media_type in ("image/jpeg", "image/png"):
    schemathesis.openapi.media_type(media_type, images)

CONFORMANCE = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

bounded = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


# The operations by name: what schemathesis's own pytest plugin would collect, were it made for this pytest.
OPERATIONS = {
    "/openapi.json": [(path, method) for path, item in document()["paths"].items() for method in item],
    "/docs.json": [("/segment", "post")],
}


@pytest.fixture(scope="module")
def schemas(server: Server) -> dict[str, BaseSchema]:
    return {path: schemathesis.openapi.from_url(server.http_url + path) for path in OPERATIONS}


def test_bentomls_document_has_only_its_twin_and_health(schemas: dict[str, BaseSchema]) -> None:
    found = schemas["/docs.json"].raw_schema["paths"]
    assert found.keys() == {"/segment", "/healthz", "/livez", "/readyz", "/metrics"}


@pytest.mark.parametrize(("source", "path", "method"), [(s, *o) for s, some in OPERATIONS.items() for o in some])
def test_every_answer_is_one_that_the_document_names(
    schemas: dict[str, BaseSchema], source: str, path: str, method: str
) -> None:
    operation = schemas[source][path][method]
    cases = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

    @bounded
    @given(case=st.one_of(cases))
    def ask(case: Case) -> None:
        response = case.call()
        assert response.status_code < 500 or response.status_code in (503, 504), response.text
        if source == "/openapi.json":
            case.validate_response(response, checks=CONFORMANCE)

    ask()
