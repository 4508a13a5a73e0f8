"""What dialects of compatible vendors share."""

import json
from typing import Any

import pytest

from cliproxy.exchange import Headers
from cliproxy.providers.compatible import RefusalReader, ask_for_usage, drop_empty_tools, file_stem
from cliproxy.wire.errors import UpstreamRefused

STATUSES = {"439": 401}


def read(body: bytes) -> bytes:
    reader = RefusalReader(STATUSES)
    return b"".join([reader.feed(body[:7]), reader.feed(body[7:]), reader.finish()])


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        ({"status": "439", "msg": "no"}, 401, "439"),
        ({"status": 503, "msg": "no"}, 503, "503"),
        ({"code": 1214, "msg": "no", "success": False}, 502, "1214"),
        ({"error_code": "odd", "msg": "no"}, 502, "odd"),
        ({"msg": "no"}, 502, None),
    ],
)
def test_a_refusal_that_is_sent_as_an_answer(refusal: Any, status: int, code: str | None) -> None:
    with pytest.raises(UpstreamRefused, match="no") as raised:
        read(json.dumps(refusal).encode())
    assert (raised.value.status, raised.value.code) == (status, code)
    assert json.loads(raised.value.body) == refusal


@pytest.mark.parametrize(
    "body",
    [b'{"choices": [], "msg": "fine"}', b'{"type": "message", "content": []}', b'{"msg": null}', b"[]", b"<html>"],
)
def test_anything_else_passes_as_it_is(body: bytes) -> None:
    assert read(body) == body


@pytest.mark.parametrize(
    ("headers", "reads"),
    [
        ({"content-type": "application/json; charset=utf-8"}, True),
        ({"content-type": "text/event-stream"}, False),
        ({}, False),
        ({"content-type": "application/json", "content-encoding": "gzip"}, False),
    ],
)
def test_only_plain_json_can_be_one(headers: dict[str, str], reads: bool) -> None:
    assert (RefusalReader.of(Headers(headers), STATUSES) is not None) == reads


@pytest.mark.parametrize(
    ("body", "options"),
    [
        ({"stream": True}, {"include_usage": True}),
        ({"stream": True, "stream_options": None}, {"include_usage": True}),
        ({"stream": True, "stream_options": {"include_usage": False, "own": 1}}, {"include_usage": True, "own": 1}),
        ({"stream": False}, None),
    ],
)
def test_streams_end_with_their_usage(body: Any, options: Any) -> None:
    ask_for_usage(body)
    assert body.get("stream_options") == options


def test_a_list_of_no_tools_is_left_out_with_the_choice_among_them() -> None:
    body: dict[str, Any] = {"tools": [], "tool_choice": "auto"}
    drop_empty_tools(body)
    assert body == {}
    body = {"tools": [{}], "tool_choice": "auto"}
    drop_empty_tools(body)
    assert body == {"tools": [{}], "tool_choice": "auto"}


def test_files_of_several_logins_are_told_apart() -> None:
    logins = [
        {"refresh_token": "test-refresh-1", "access_token": "test-access-1"},
        {"refresh_token": "test-refresh-2", "access_token": "test-access-1"},
        {"api_key": "sk-test-1"},
    ]
    stems = {file_stem(fields) for fields in logins}
    assert len(stems) == 3
    assert not any("test" in stem for stem in stems)
    assert file_stem({"email": "me@example.com", "api_key": "sk-test-1"}) == "me@example.com"
