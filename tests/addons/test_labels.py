"""addons.labels: what flows say of themselves is found by the filter expressions of `docs/inspection.md`."""

import re

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from mitmproxy import flowfilter

from tests import mitmweb, native
from tests.calls import Call, call
from tests.conftest import Start
from tests.mitmweb import Mitmweb
from tests.processes import ROOT
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAPTOP_KEY, OTHER_KEY = "test-key-of-laptop", "test-key-of-another"


def documented() -> list[str]:
    """The expressions in the first cells of the document's tables, and those beside them that do the same."""
    rows = (ROOT / "docs" / "inspection.md").read_text("utf-8").splitlines()
    return [each for row in rows if row.startswith("| `") for each in re.findall(r"`([^`]*~[^`]+)`", row)]


EXPRESSIONS = documented()
SEARCHES = [each for each in EXPRESSIONS if "~q" not in each and "~s" not in each]


def config(upstream: Upstream) -> dict[str, object]:
    """The names of the document's examples; of two upstreams for `gpt-5` the first fails."""
    gpt = {"base-url": f"{upstream.url}/v1", "models": [{"name": "gpt-5"}]}
    return {
        "api-keys": [{"name": "laptop", "key": LAPTOP_KEY}, OTHER_KEY],
        "disable-cooling": True,
        "claude-api-key": [
            {"api-key": "sk-ant-test-key-of-claude", "base-url": upstream.url, "models": [{"name": "claude-opus-4-5"}]}
        ],
        "openai-compatibility": [
            {"name": "busy", "priority": 2, "api-key-entries": [{"api-key": "sk-test-busy"}], **gpt},
            {"name": "openai", "priority": 1, "api-key-entries": [{"api-key": "sk-test-openai"}], **gpt},
        ],
    }


def asked(key: str, model: str) -> Call:
    """A request in Anthropic's words, one of which OpenAI has no place for."""
    plain = call("anthropic", model=model)
    return Call(plain.path, {**plain.headers, "x-api-key": key}, {**plain.json, "top_k": 5})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def found(start: Start, shared_upstream: Upstream, client: ClientSession) -> dict[str, int]:
    """How many of the five flows each expression finds: two exchanges, of which one takes two attempts."""
    port = mitmweb.free_port()
    gateway = await start(config(shared_upstream), *mitmweb.options(port), program="mitmweb")
    shared_upstream.script(native.error("openai-chat", 529, "overloaded"))
    async with Mitmweb.of(gateway, port) as web:
        for each in (asked(LAPTOP_KEY, "gpt-5"), asked(OTHER_KEY, "claude-opus-4-5")):
            async with client.post(gateway.url + each.path, headers=each.headers, json=each.json) as answer:
                assert answer.status == 200
        await web.wait_for(lambda flow: "claude/" in flow.raw["comment"] and flow.is_attempt and flow.raw["marked"])
        assert len(await web.flows()) == 5
        return {expression: len(await web.found(expression)) for expression in SEARCHES}


@pytest.mark.parametrize("expression", SEARCHES)
async def test_a_documented_expression_finds_some_flows_and_no_others(found: dict[str, int], expression: str) -> None:
    assert 0 < found[expression] < 5


@pytest.mark.parametrize("expression", EXPRESSIONS)
async def test_a_documented_expression_is_one(expression: str) -> None:
    assert flowfilter.parse(expression)
