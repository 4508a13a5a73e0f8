"""The OpenAPI document is valid and true: schemathesis asks each operation for what it describes, and for worse."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from schemathesis import Case, Response
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from cliproxy.exchange import ClientRequest, Headers
from cliproxy.management.application import BASE_PATH, description, endpoints
from cliproxy.providers import VENDORS
from tests.auth_files import AUTH_FILES
from tests.management.desk import KEY, Desk, desk_of

NOWHERE = "http://127.0.0.1:9"
SCHEMA = schemathesis.openapi.from_dict(
    # Without the systematic variations of every parameter, which take minutes; random ones stay.
    description(),
    config=SchemathesisConfig.from_dict({"phases": {"coverage": {"enabled": False}}}),
)
ASKED = SCHEMA.exclude(path="/events")
"""What ends."""
LENIENT = ("/config.yaml", "/auth-files", "/vertex/import", "/usage/import")
"""Take bodies that a schema does not describe."""


def test_the_document_names_every_endpoint_once() -> None:
    described = {(method.upper(), path) for path, item in description()["paths"].items() for method in item}
    assert described == {(endpoint.method, endpoint.path) for endpoint in endpoints()}
    names = [operation["operationId"] for item in description()["paths"].values() for operation in item.values()]
    assert len(set(names)) == len(names)


def test_every_schema_in_it_is_one() -> None:
    def check(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("schema"), dict):
                Draft202012Validator.check_schema(node["schema"])
            for value in node.values():
                check(value)
        elif isinstance(node, list):
            for value in node:
                check(value)

    check(description())


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(description())
    for part in text.split('"$ref": "#/')[1:]:
        node: Any = description()
        for step in part.partition('"')[0].split("/"):
            node = node[step]


async def test_the_document_is_served(desk: Desk) -> None:
    document = await desk.get("/openapi.json")
    assert (document["openapi"], document["servers"]) == ("3.1.0", [{"url": BASE_PATH}])
    assert (await desk.ask("GET", "/openapi.json", key=None)).status == 401


# ---------------------------------------------------------------- asked by schemathesis


class Server:
    """A desk on an event loop of its own, since schemathesis waits for its answers."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._running = AsyncExitStack()
        self._desk = self._run(self._opened(folder))
        self._config = self._desk.config_text()

    async def _opened(self, folder: Path) -> Desk:
        oauth = {"client-id": "test-client", "device-url": NOWHERE, "token-url": NOWHERE, "authorize-url": NOWHERE}
        providers = {name: {"base-url": NOWHERE, "quota-url": NOWHERE, "oauth": oauth} for name in VENDORS}
        keys = [{"api-key": "sk-test-1", "base-url": NOWHERE}]
        more = f"providers: {json.dumps(providers)}\nclaude-api-key: {json.dumps(keys)}\napi-keys: [sk-test-client]\n"
        (folder / "auth").mkdir()
        for name, login in AUTH_FILES.items():
            (folder / "auth" / name).write_text(json.dumps(login | {"expired": "2099-01-01T00:00:00Z"}), "utf-8")
        return await self._running.enter_async_context(desk_of(folder, more))

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def send(self, case: Case) -> Response:
        """What the application answers to a case, with the key."""
        wanted = case.as_transport_kwargs(base_url=f"http://gateway{BASE_PATH}")
        names = ("method", "url", "headers", "params", "json", "data", "files", "cookies")
        prepared = requests.Request(**{name: wanted[name] for name in names if name in wanted}).prepare()
        prepared.headers["Authorization"] = f"Bearer {KEY}"
        status, headers, body = self._run(self._answer(prepared))
        return Response(status, headers, body, prepared, 0.0, False)

    async def _answer(self, request: requests.PreparedRequest) -> tuple[int, dict[str, list[str]], bytes]:
        target = urlsplit(str(request.url))
        sent = Headers({name: str(value) for name, value in request.headers.items()})
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        assert isinstance(body, bytes)
        asked = ClientRequest(str(request.method), target.path, target.query, sent, body, "127.0.0.1")
        answer = await self._desk.bridge.ask(asked)
        whole = answer.body if isinstance(answer.body, bytes) else b"".join([chunk async for chunk in answer.body])
        if self._desk.config_text() != self._config:
            # The next case begins with the same configuration.
            await self._desk.operator.config_file.replace(self._config)
        return answer.status, {name: answer.headers.getall(name) for name in answer.headers}, whole

    def close(self) -> None:
        self._run(self._running.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("openapi"))
    yield running
    running.close()


@ASKED.parametrize()
@settings(
    max_examples=5,
    deadline=timedelta(seconds=20),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_each_operation_does_what_it_says(case: Case, server: Server) -> None:
    """Any request, well-formed or not, gets an answer that the document describes, and none breaks the application."""
    response = server.send(case)
    checks = [status_code_conformance, content_type_conformance, response_schema_conformance]
    if not case.path.endswith("-auth-url") and not case.path.startswith("/credentials/"):
        # Those ask vendors, which are away here: a 502 says so.
        checks.append(not_a_server_error)
    if case.path not in LENIENT:
        checks.append(negative_data_rejection)
    case.validate_response(response, checks=checks)
