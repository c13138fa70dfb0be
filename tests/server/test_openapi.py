"""The OpenAPI document: correct, complete, and no request made from it ends in a 500."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving import serving
from stack import make_runtime

from fairway.server.app import OPERATIONS

BOUNDED = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# Requests that fit the document, and, where there is a body, requests that do not.
MODES = [
    (f"{each.method} {each.path}", mode)
    for each in OPERATIONS
    for mode in GenerationMode
    if each.body is not None or mode.is_positive
]


@pytest.fixture(scope="module")
def documented():
    """Short contexts, so that an answer without a limit is quick, too."""
    with serving(make_runtime(context=96, num_blocks=64)) as server:
        yield schemathesis.openapi.from_url(server.url + "/openapi.json")


def test_the_document_is_openapi_3_1_and_names_every_operation(http):
    document = http.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert described == {(each.method, each.path.replace(":path}", "}")) for each in OPERATIONS}
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["summary"]
            assert "200" in operation["responses"]


def test_every_reference_in_the_document_resolves(http):
    document = http.get("/openapi.json").json()

    def references(node):
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    names = {each.removeprefix("#/components/schemas/") for each in references(document)}
    assert names <= document["components"]["schemas"].keys()


def test_with_keys_the_document_says_so():
    with serving(make_runtime(), api_keys=("k",)) as server:
        document = httpx.get(server.url + "/openapi.json", headers={"x-api-key": "k"}).json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    assert "security" not in document["paths"]["/health"]["get"]
    assert document["paths"]["/metrics"]["get"]["security"]
    assert "401" in document["paths"]["/v1/models"]["get"]["responses"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("operation", "mode"), MODES, ids=str)
def test_no_request_made_from_the_document_ends_in_a_500(documented, operation, mode):
    method, _, path = operation.partition(" ")
    api = documented[path.replace(":path}", "}")][method]

    @BOUNDED
    @given(case=api.as_strategy(generation_mode=mode))
    def exchange(case):
        case.call_and_validate(checks=CHECKS, timeout=20)

    exchange()
