"""cliproxy.providers.codex: ChatGPT accounts, against a mock of the backend that refuses what the real one refuses."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from cliproxy.credentials.record import Candidate
from cliproxy.exchange import Headers
from cliproxy.oauth.errors import EndpointTrouble
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers import codex
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.providers.codex_answer import Collected, Completed
from cliproxy.providers.vendor import Place, Window
from cliproxy.routes import error_format, is_ours, match
from cliproxy.wire.model import ModelFacts
from tests import native
from tests.answers import Answer
from tests.features.gateways import MODEL, UPSTREAM_MODEL
from tests.features.test_tool_loop import CITY, LOOPS
from tests.native import FORMATS, Format
from tests.providers.accounts import TOKEN, Login, answer, credential, sent
from tests.providers.codex_backend import ACCOUNT_ID, PATH, event, judge, streamed, without_output
from tests.providers.vendor_site import NEXT_TOKEN, VendorSite
from tests.site import ask, plain, refused, request
from tests.wire.vendors import read

CREATED = {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}}


@pytest.fixture
async def site() -> AsyncIterator[VendorSite]:
    async with VendorSite("codex", judge, PATH, account_id=ACCOUNT_ID) as running:
        yield running


def said(*, tool: bool = False) -> Answer:
    make = native.tool_call if tool else native.text
    return without_output(make("openai-responses", stream=True))


# ---------------------------------------------------------------- each client


@pytest.mark.parametrize("client", FORMATS)
async def test_a_tool_is_called_and_answered_in_streams(site: VendorSite, client: Format) -> None:
    site.upstream.script(said(tool=True), said())
    go_through, finishes = LOOPS[client]
    loop = await go_through(site.clients())
    assert (loop.name, loop.arguments, loop.text) == ("get_weather", CITY, "hello from upstream")
    assert loop.finishes == finishes
    assert loop.tokens == {(native.INPUT_TOKENS, native.OUTPUT_TOKENS)}
    for received in site.upstream.requests:
        assert received.path == f"{PATH}/responses"
        assert received.json["model"] == UPSTREAM_MODEL
        assert "reasoning.encrypted_content" in received.json["include"]
        assert received.headers["user-agent"]
    second = site.upstream.requests[1].json["input"]
    assert [item.get("type") for item in second if "call_id" in item] == [
        "function_call",
        "function_call_output",
    ]


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("tool", [False, True])
async def test_a_whole_answer_is_made_of_the_stream(site: VendorSite, client: Format, tool: bool) -> None:
    site.upstream.script(said(tool=tool))
    reply = await ask(site.gateway(), request(client, model=MODEL))
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json"), reply.body
    understood = read(client, reply.body, stream=False)
    assert understood.text == ("" if tool else "hello from upstream")
    assert understood.calls == ([("get_weather", CITY)] if tool else [])
    assert understood.tokens == (native.INPUT_TOKENS, native.OUTPUT_TOKENS)


@pytest.mark.parametrize("client", FORMATS)
async def test_what_an_answer_says_of_length_is_no_failure(site: VendorSite, client: Format) -> None:
    response = {
        "id": "resp_1", "object": "response", "status": "incomplete", "model": "m", "output": [], "usage": None,
        "incomplete_details": {"reason": "max_output_tokens"},
    }  # fmt: skip
    content = [{"type": "output_text", "text": "cut", "annotations": []}]
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "incomplete", "content": content}
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}
    site.upstream.script(streamed([CREATED, done, {"type": "response.incomplete", "response": response}]))
    reply = await ask(site.gateway(), request(client, model=MODEL))
    assert reply.status == 200
    assert b"cut" in reply.body
    if client == "openai-responses":
        assert (reply.json["status"], reply.json["output"]) == ("incomplete", [item])


# ---------------------------------------------------------------- failures

FAILURES: dict[str, tuple[dict[str, Any], int]] = {
    "too long": ({"code": "context_length_exceeded", "message": "Your input exceeds the context window."}, 400),
    "used up": (
        {"type": "usage_limit_reached", "message": "The usage limit has been reached", "resets_in_seconds": 60}, 429),
    "at capacity": ({"message": "Selected model is at capacity. Please try a different model."}, 429),
    "overloaded": ({"code": "server_is_overloaded", "message": "Our servers are currently overloaded."}, 503),
    "login": ({"code": "invalid_api_key", "message": "Your authentication token has expired."}, 401),
    "signature": (
        {"type": "invalid_request_error", "code": "invalid_encrypted_content", "message": "could not be verified"}, 400),
    "unknown": ({"message": "Something went wrong."}, 502),
}  # fmt: skip


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("error", "status"), FAILURES.values(), ids=FAILURES)
async def test_a_failure_in_the_stream_has_its_status(
    site: VendorSite, client: Format, stream: bool, error: dict[str, Any], status: int
) -> None:
    failed = {"type": "response.failed", "response": {"id": "resp_1", "status": "failed", "error": error, "output": []}}
    site.upstream.script(Answer(headers={"content-type": "text/event-stream"}, body=[event(CREATED) + event(failed)]))
    reply = await ask(site.gateway(), request(client, model=MODEL, stream=stream))
    assert error["message"].rstrip(".") in refused(client, status, reply)
    if "resets_in_seconds" in error:
        assert reply.headers["retry-after"] == "60"


@pytest.mark.parametrize("client", FORMATS)
async def test_an_error_event_is_a_failure_too(site: VendorSite, client: Format) -> None:
    said_so = {"type": "error", "error": {"type": "usage_limit_reached", "message": "The usage limit has been reached"}}
    site.upstream.script(streamed([said_so]))
    refused(client, 429, await ask(site.gateway(), request(client, model=MODEL)))


@pytest.mark.parametrize("client", FORMATS)
async def test_a_stream_without_its_end_is_no_answer(site: VendorSite, client: Format) -> None:
    whole = said()
    assert not isinstance(whole.body, bytes)
    site.upstream.script(Answer(headers=whole.headers, body=whole.body[:-1]))
    reply = await ask(site.gateway(), request(client, model=MODEL))
    assert "ended before its end" in refused(client, 502, reply)


async def test_a_used_up_account_gives_way_to_the_next(site: VendorSite) -> None:
    spare = site.credential(account=None, secret=NEXT_TOKEN, headers={"ChatGPT-Account-Id": ACCOUNT_ID})
    used_up = {"error": {"type": "usage_limit_reached", "message": "The usage limit has been reached"}}
    site.upstream.script(answer(used_up, 429), said())
    reply = await ask(site.gateway(site.credential(), spare), request("anthropic", model=MODEL))
    assert reply.status == 200
    assert [seen.headers["authorization"] for seen in site.upstream.requests] == [
        f"Bearer {TOKEN}",
        f"Bearer {NEXT_TOKEN}",
    ]


async def test_a_refused_token_is_renewed_and_the_request_repeated() -> None:
    login = Login("test-access-0", {"account_id": ACCOUNT_ID}, NEXT_TOKEN)
    async with VendorSite("codex", judge, PATH, login) as site:
        site.upstream.script(said())
        reply = await ask(site.gateway(), request("openai-chat", model=MODEL))
        tokens = [seen.headers["authorization"] for seen in site.upstream.requests]
    assert reply.status == 200
    assert tokens == ["Bearer test-access-0", f"Bearer {NEXT_TOKEN}"]


# ---------------------------------------------------------------- what is sent


async def test_a_body_of_the_public_api_is_made_fit(site: VendorSite) -> None:
    fields = {
        "input": [
            {"role": "system", "content": "Be brief."},
            {"type": "message", "id": "own-1", "role": "user", "content": "hello"},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAAAtest"},
            {"type": "message", "role": "user",
             "content": [{"type": "input_text", "text": "go", "prompt_cache_breakpoint": {"mode": "explicit"}}]},
        ],
        "max_output_tokens": 64, "temperature": 0.5, "top_p": 1, "truncation": "auto", "user": "u", "metadata": {"a": "b"},
        "store": True, "service_tier": "flex", "previous_response_id": "resp_0", "parallel_tool_calls": True,
        "stream_options": {"include_obfuscation": False, "reasoning_summary_delivery": "whole"},
        "include": ["web_search_call.action.sources"], "text": {"verbosity": "low"},
    }  # fmt: skip
    site.upstream.script(said())
    reply = await ask(site.gateway(), request("openai-responses", model=MODEL, fields=fields))
    assert reply.status == 200, reply.body
    [received] = site.upstream.requests
    assert received.json == {
        "model": UPSTREAM_MODEL,
        "instructions": "",
        "input": [
            {"role": "developer", "content": "Be brief."},
            {"type": "message", "role": "user", "content": "hello"},
            {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAAAtest"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go"}]},
        ],
        "include": ["web_search_call.action.sources", "reasoning.encrypted_content"],
        "store": False,
        "stream": True,
        "stream_options": {"reasoning_summary_delivery": "whole"},
        "text": {"verbosity": "low"},
        "prompt_cache_key": received.headers["session-id"],
    }


async def test_codexs_own_newer_requests_keep_their_shape(site: VendorSite) -> None:
    tools = {"type": "additional_tools", "role": "developer", "tools": [{"type": "custom", "name": "exec"}]}
    body = {"model": MODEL, "stream": True, "input": [tools, {"role": "user", "content": "hi"}], "store": False}
    body |= {"parallel_tool_calls": False, "include": ["reasoning.encrypted_content"], "prompt_cache_key": "thread-1"}
    headers = {"x-openai-internal-codex-responses-lite": "true", "session-id": "session-1", "originator": "codex_exec"}
    site.upstream.script(said())
    asked = plain("POST", f"{PATH}/responses", json.dumps(body).encode(), **headers)
    reply = await ask(site.gateway(), asked)
    assert reply.status == 200, reply.body
    [received] = site.upstream.requests
    assert received.json == {**body, "model": UPSTREAM_MODEL}
    assert received.headers.getall("session-id") == ["session-1"]
    assert received.headers["originator"] == "codex_exec"


async def test_one_conversation_has_one_cache(site: VendorSite) -> None:
    gateway = site.gateway()
    for session in ("one", "one", "two"):
        site.upstream.script(said())
        await ask(gateway, request("anthropic", model=MODEL, headers={"x-claude-code-session-id": session}))
    first, again, other = [received.headers["session-id"] for received in site.upstream.requests]
    assert first == again != other
    assert [received.json["prompt_cache_key"] for received in site.upstream.requests] == [first, first, other]
    assert "one" not in first


def test_a_name_that_no_header_can_hold_is_only_the_bodys() -> None:
    key = {"prompt_cache_key": "größe\n1"}
    _, headers, body = sent(codex.VENDOR, {"model": "m", "input": "hi", **key}, "openai-responses")
    assert body["prompt_cache_key"] == "größe\n1"
    assert headers["session-id"] == codex.conversation_id("größe\n1")


def test_an_unknown_conversation_has_no_name() -> None:
    _, headers, body = sent(codex.VENDOR, {"model": "m", "input": "hi"}, "openai-responses")
    assert "session-id" not in headers
    assert "prompt_cache_key" not in body


@pytest.mark.parametrize(
    ("headers", "reads"),
    [
        ({}, True),
        ({"content-type": "text/event-stream; charset=utf-8"}, True),
        ({"content-type": "application/json"}, False),
        ({"content-type": "text/event-stream", "content-encoding": "zstd"}, False),
    ],
)
@pytest.mark.parametrize(("stream", "reader"), [(True, Completed), (False, Collected)])
def test_only_streams_are_made_whole(headers: dict[str, str], reads: bool, stream: bool, reader: type) -> None:
    asked = UpstreamCall(Purpose.GENERATE, "openai-responses", "POST", "", "", Headers(), b"{}", stream)
    one = Candidate(credential(codex.VENDOR, "http://backend.test", "m"), "m", ModelFacts("m"))
    found = codex.Codex().reader(one, asked, Headers(headers))
    assert isinstance(found, reader) if reads else found is None


# ---------------------------------------------------------------- the other routes


@pytest.mark.parametrize("path", ["/v1/responses/compact", f"{PATH}/responses/compact"])
async def test_compaction_comes_whole(site: VendorSite, path: str) -> None:
    compacted = {"output": [{"type": "compaction", "encrypted_content": "gAAAAtest"}]}
    site.upstream.script(answer(compacted))
    body = {"model": MODEL, "input": "hi", "store": False, "include": ["reasoning.encrypted_content"], "stream": False}
    reply = await ask(site.gateway(), plain("POST", path, json.dumps(body).encode()))
    assert (reply.status, reply.json) == (200, compacted), reply.body
    [received] = site.upstream.requests
    assert received.path == f"{PATH}/responses/compact"


@pytest.mark.parametrize("path", ["/v1/alpha/search", f"{PATH}/alpha/search"])
async def test_codexs_search_is_passed_on(site: VendorSite, path: str) -> None:
    site.upstream.script(answer({"output": "found"}))
    body = {"id": "search-1", "model": MODEL, "commands": {}, "prompt_cache_key": "k", "prompt_cache_retention": "24h"}
    reply = await ask(site.gateway(), plain("POST", path, json.dumps(body).encode()))
    assert (reply.status, reply.json) == (200, {"output": "found"}), reply.body
    [received] = site.upstream.requests
    assert received.json == {"id": "search-1", "model": UPSTREAM_MODEL, "commands": {}}


async def test_the_backends_images_are_passed_on(site: VendorSite) -> None:
    site.upstream.script(answer({"created": 1, "data": []}))
    body = json.dumps({"model": "gpt-image-1.5", "prompt": "a fox"}).encode()
    reply = await ask(site.gateway(), plain("POST", "/v1/images/generations", body))
    assert (reply.status, reply.json["data"]) == (200, [])


@pytest.mark.parametrize("path", ["/v1/files", "/v1/embeddings", "/v1/responses/resp_1"])
async def test_the_public_apis_other_routes_are_not(site: VendorSite, path: str) -> None:
    reply = await ask(site.gateway(), plain("GET", path))
    assert reply.status == 404
    assert not site.upstream.requests


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "hello"}]}),
        ("/v1/responses/input_tokens", {"input": "hello"}),
    ],
)
async def test_tokens_are_counted_here(site: VendorSite, path: str, body: dict[str, Any]) -> None:
    reply = await ask(site.gateway(), plain("POST", path, json.dumps({"model": MODEL, **body}).encode()))
    assert (reply.status, reply.headers["x-cliproxy-token-count"]) == (200, "estimated")
    assert reply.json["input_tokens"] > 0
    assert not site.upstream.requests


async def test_an_api_key_in_codexs_place_is_for_the_public_api() -> None:
    def public(received: Any) -> Answer | None:
        wrong = "store" in received.json or "chatgpt-account-id" in received.headers
        return answer({"error": {"message": "not mine"}}, 400) if wrong else None

    async with VendorSite("codex", public, "/v1", api_key=TOKEN) as site:
        reply = await ask(site.gateway(), request("openai-responses", model=MODEL))
        assert reply.json["output"][0]["content"][0]["text"] == "hello from upstream"
        [received] = site.upstream.requests
        assert (received.path, received.headers["authorization"]) == ("/v1/responses", f"Bearer {TOKEN}")
        assert received.json == {"model": UPSTREAM_MODEL, "input": "hello"}


# ---------------------------------------------------------------- the account


def id_token(**claims: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{payload}.test"


async def test_who_logged_in_is_in_the_id_token() -> None:
    auth = {"chatgpt_account_id": ACCOUNT_ID, "chatgpt_plan_type": "plus"}
    token = id_token(email="me@example.com", **{"https://api.openai.com/auth": auth})
    async with httpx.AsyncClient() as http:
        found = await codex.identify(Tokens(TOKEN, id_token=token), Place(""), http)
        nobody = await codex.identify(Tokens(TOKEN), Place(""), http)
    assert found == {"email": "me@example.com", "account_id": ACCOUNT_ID, "plan_type": "plus"}
    assert nobody == {}


@pytest.mark.parametrize(
    ("fields", "stem"),
    [
        ({"email": "me@example.com", "plan_type": "plus", "account_id": "a"}, "me@example.com-plus"),
        ({"email": "me@example.com", "plan_type": "Team", "account_id": "a"}, "ca978112-me@example.com-team"),
        ({"email": "me@example.com", "plan_type": "self_serve x"}, "me@example.com-self-serve-x"),
        ({"email": "me@example.com"}, "me@example.com"),
        ({"account_id": "a"}, "ca978112"),
        ({}, "account"),
    ],
)
def test_a_file_is_named_after_its_account(fields: dict[str, str], stem: str) -> None:
    assert codex.file_stem(fields) == stem


USAGE = {
    "plan_type": "plus",
    "rate_limit": {
        "primary_window": {"used_percent": 42, "limit_window_seconds": 18000, "reset_at": 1_800_000_000},
        "secondary_window": {"used_percent": 100, "limit_window_seconds": 604800, "reset_at": 1_800_100_000},
    },
    "additional_rate_limits": [
        {"limit_name": "spark", "rate_limit": {"primary_window": {"used_percent": 7, "limit_window_seconds": 259200}}},
        {"metered_feature": "other", "rate_limit": None},
    ],
    "credits": {"has_credits": False},
}


async def test_quota(site: VendorSite) -> None:
    fields = {"access_token": TOKEN, "account_id": ACCOUNT_ID}
    site.upstream.script(answer(USAGE))
    async with httpx.AsyncClient() as http:
        quota = await codex.quota(fields, Place(site.base_url), http)
    assert quota.plan == "plus"
    assert quota.windows == (
        Window("5h", 0.42, 1_800_000_000.0),
        Window("weekly", 1.0, 1_800_100_000.0),
        Window("spark 3d", 0.07, None),
    )


@pytest.mark.parametrize(
    "answer",
    [
        answer({"detail": "no"}, 403),
        answer({}, 500),
        answer([]),
        Answer(headers={"content-type": "text/html"}, body=b"<html>"),
    ],
)
async def test_a_quota_that_is_not_told_is_trouble(site: VendorSite, answer: Answer) -> None:
    site.upstream.script(answer)
    fields = {"access_token": TOKEN, "account_id": ACCOUNT_ID}
    async with httpx.AsyncClient() as http:
        with pytest.raises(EndpointTrouble) as trouble:
            await codex.quota(fields, Place(site.base_url), http)
    assert TOKEN not in str(trouble.value)


# ---------------------------------------------------------------- its own paths


@pytest.mark.parametrize("path", [f"{PATH}/responses", f"{PATH}/responses/compact", f"{PATH}/alpha/search"])
def test_codexs_own_paths_are_other_names(path: str) -> None:
    assert match("POST", path) == match("POST", path.replace(PATH, "/v1"))
    assert is_ours(path)
    assert error_format(path) == error_format(path.replace(PATH, "/v1"))
    assert not is_ours(f"{PATH}/models")


async def test_what_the_backend_does_not_take_is_named(site: VendorSite) -> None:
    gateway = site.gateway(debug=True)
    for client in ("openai-responses", "openai-chat"):
        site.upstream.script(said())
        asked = request(client, model=MODEL)
        asked.body = json.dumps({**json.loads(asked.body), "temperature": 0.5}).encode()  # pyright: ignore[reportArgumentType]
        reply = await ask(gateway, asked)
        assert reply.headers["x-cliproxy-dropped"].count("temperature: the ChatGPT backend does not take it") == 1
