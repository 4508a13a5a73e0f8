"""cliproxy.providers.codex_request: what is changed of a body, and that nothing else is."""

import json
from typing import Any

import pytest

from cliproxy.providers.codex_request import cache_key, compacting, generating, refused, searching


def made(**members: Any) -> Any:
    return json.loads(generating(json.dumps({"model": "m", "input": [], **members}).encode(), ""))


def test_untouched_members_keep_their_bytes() -> None:
    item = b'{"type":"message" , "role": "user",  "content":"\\u00e9\\u2028", "id":"msg_1"}'
    body = b'{"model":"m","input":[ ' + item + b' ],"tools":[{ "type":"custom" }],"instructions":"say  \\u00e9"}'
    out = generating(body, "")
    assert b'"input":[ ' + item + b" ]" in out
    assert b'"tools":[{ "type":"custom" }]' in out
    assert b'"instructions":"say  \\u00e9"' in out


def test_items_beside_a_changed_one_keep_their_bytes() -> None:
    item = b'{ "role":"user", "content":"\\u00e9" }'
    out = generating(b'{"model":"m","input":[{"role":"system","content":"x"},' + item + b"]}", "")
    assert item in out
    assert json.loads(out)["input"][0] == {"role": "developer", "content": "x"}


@pytest.mark.parametrize("member", [b'"x":"\\ud800"', b'"x":NaN', b'"x":1e999'])
def test_what_only_the_standard_library_reads_is_taken_too(member: bytes) -> None:
    out = json.loads(generating(b'{"model":"m","input":"hi","temperature":1,' + member + b"}", ""))
    assert out["store"] is False
    assert "temperature" not in out
    assert out["input"][0]["content"] == [{"type": "input_text", "text": "hi"}]


@pytest.mark.parametrize(
    ("kind", "id", "stays"),
    [
        ("message", "msg_1", True),
        ("message", "1", False),
        ("message", "msg_" + "x" * 61, False),
        ("message", 7, False),
        (None, "msg_1", True),
        (None, "item_1", False),
        ("function_call", "fc_1", True),
        ("function_call", "call_1", False),
        ("function_call_output", "fco_1", True),
        ("custom_tool_call_output", "ctco_1", True),
        ("web_search_call", "ws_1", True),
        ("of_tomorrow", "anything", True),
    ],
)
def test_ids_of_items(kind: str | None, id: Any, stays: bool) -> None:
    item = {"id": id, "role": "user", **({"type": kind} if kind else {})}
    [out] = made(input=[item])["input"]
    assert out == item if stays else out == {name: value for name, value in item.items() if name != "id"}


@pytest.mark.parametrize("content", [None, "", "gAAAAtest"])
def test_reasoning_goes_on_only_with_its_token(content: str | None) -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": content}
    assert made(input=[item, {"role": "user", "content": "hi"}])["input"][:-1] == ([item] if content else [])


def test_what_is_no_list_of_objects_is_for_the_backend_to_judge() -> None:
    assert made(input=["hi", {"role": "system"}])["input"] == ["hi", {"role": "developer"}]
    assert made(input={"role": "user"})["input"] == {"role": "user"}
    assert made(input=None)["input"] is None
    assert "input" not in json.loads(generating(b'{"model":"m"}', ""))


@pytest.mark.parametrize(("tier", "sent"), [("priority", "priority"), ("flex", None), ("auto", None), (None, None)])
def test_only_priority_is_a_tier(tier: str | None, sent: str | None) -> None:
    assert made(service_tier=tier).get("service_tier") == sent


@pytest.mark.parametrize(
    ("include", "sent"),
    [
        (None, ["reasoning.encrypted_content"]),
        ([], ["reasoning.encrypted_content"]),
        (["reasoning.encrypted_content"], ["reasoning.encrypted_content"]),
        (["file_search_call.results"], ["file_search_call.results", "reasoning.encrypted_content"]),
    ],
)
def test_encrypted_reasoning_is_included(include: Any, sent: list[str]) -> None:
    assert made(include=include)["include"] == sent


@pytest.mark.parametrize(("tools", "stays"), [(None, False), ([], False), ([{"type": "web_search"}], True)])
def test_parallel_calls_need_tools(tools: Any, stays: bool) -> None:
    assert ("parallel_tool_calls" in made(tools=tools, parallel_tool_calls=False)) is stays


@pytest.mark.parametrize("instructions", [None, "", "Be brief."])
def test_instructions_are_there_in_any_case(instructions: str | None) -> None:
    assert made(instructions=instructions)["instructions"] == (instructions or "")
    body = json.dumps({"model": "m", "input": [], "instructions": instructions}).encode()
    assert json.loads(compacting(body))["instructions"] == (instructions or "")


def test_lite_requests_are_left_without() -> None:
    out = json.loads(generating(b'{"model":"m","input":[],"parallel_tool_calls":false}', "", lite=True))
    assert "instructions" not in out
    assert out["parallel_tool_calls"] is False


def test_the_conversations_name() -> None:
    assert json.loads(generating(b'{"model":"m","input":[],"prompt_cache_key":"own"}', ""))["prompt_cache_key"] == "own"
    assert json.loads(generating(b'{"model":"m","input":[]}', "ours"))["prompt_cache_key"] == "ours"
    assert cache_key(b'{"prompt_cache_key":"own"}') == "own"
    assert [cache_key(body) for body in (b'{"prompt_cache_key":7}', b"{}", b"[]", b"\xff")] == [""] * 4


def test_a_search_has_no_cache() -> None:
    assert searching(b'{"id":"s","commands":{ },"prompt_cache_key":"k"}') == b'{"id":"s","commands":{ }}'


def test_what_is_refused_is_named_where_it_says_something() -> None:
    assert refused(b'{"model":"m","temperature":1,"user":null,"store":true,"top_p":0}') == ["temperature", "top_p"]
    assert refused(b'{"temperature":NaN}') == []
