import json

import pytest

from cliproxy.image_generation import is_image_route, without_image_tool


def test_the_image_tool_is_taken_out() -> None:
    request = {
        "tools": [{"type": "image_generation"}, {"type": "web_search"}],
        "tool_choice": {"type": "image_generation"},
    }
    assert json.loads(without_image_tool(json.dumps(request).encode())) == {"tools": [{"type": "web_search"}]}


def test_no_choice_is_left_without_tools() -> None:
    request = {"tools": [{"type": "image_generation"}], "tool_choice": "auto", "input": "hi"}
    assert json.loads(without_image_tool(json.dumps(request).encode())) == {"input": "hi"}


@pytest.mark.parametrize("body", [b'{"input":"about image_generation"}', b'{"tools": []}', b'["image_generation"]'])
def test_other_requests_stay_byte_for_byte(body: bytes) -> None:
    assert without_image_tool(body) == body


@pytest.mark.parametrize(
    ("path", "expected"), [("/v1/images/generations", True), ("/images/edits", True), ("/v1/imagesque", False)]
)
def test_image_routes(path: str, expected: bool) -> None:
    assert is_image_route(path) is expected
