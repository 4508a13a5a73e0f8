"""Upstreams of any maker in `openai-compatibility`, whichever format they speak (`wire`)."""

import pytest

from tests import native
from tests.features.test_tool_loop import CITY, LOOPS
from tests.native import FORMATS, Format
from tests.providers.accounts import clients, said
from tests.upstream import Upstream

SHOWN = {"anthropic": "authorization", "gemini": "x-goog-api-key"}


@pytest.mark.parametrize("wire", ["anthropic", "gemini"])
@pytest.mark.parametrize("client", FORMATS)
async def test_a_custom_provider_may_speak_another_makers_format(
    upstream: Upstream, client: Format, wire: Format
) -> None:
    upstream.script(native.tool_call(wire, stream=True), native.text(wire, stream=True), native.text(wire))
    entry = {
        "name": "custom", "prefix": "custom", "wire": wire, "base-url": f"{upstream.url}/base",
        "api-key-entries": ["sk-test-upstream"], "models": [{"name": "own-model", "alias": "model"}],
    }  # fmt: skip
    async with clients(openai_compatibility=[entry]) as over:
        loop = await LOOPS[client][0](over)
        assert (loop.name, loop.arguments, loop.text) == ("get_weather", CITY, "hello from upstream")
        assert await said(over, client) == "hello from upstream"
        listed = await over.http.get("/v1/models", headers={"authorization": "Bearer sk-test-client"})
    assert {"model", "custom/model"} <= {model["id"] for model in listed.json()["data"]}
    assert all(request.path.startswith("/base/") for request in upstream.requests)
    assert {request.headers[SHOWN[wire]].removeprefix("Bearer ") for request in upstream.requests} == {
        "sk-test-upstream"
    }
