"""cliproxy.providers.cloud_code: the envelope put on and taken off, for both vendors behind it."""

import json
from typing import Any

import pytest

from cliproxy.exchange import Headers
from cliproxy.providers.call import Purpose
from cliproxy.providers.cloud_code import opened, projects
from cliproxy.providers.gemini_cli import GeminiCli
from cliproxy.wire.errors import UpstreamGarbled, UpstreamRefused
from tests import native
from tests.providers.google import call, candidate, enveloped

DIALECT = GeminiCli()
CANDIDATE = candidate("gemini-cli", "gemini-2.5-pro")
CONTENTS = [{"role": "user", "parts": [{"text": "hello there"}]}]
STREAM = native.text("gemini", words=("one", " two"), stream=True)


def read(body: bytes, at: int, *, stream: bool, query: str = "alt=sse") -> bytes:
    action = "streamGenerateContent" if stream else "generateContent"
    asked = call({"contents": CONTENTS}, stream=stream, action=action, query=query)
    reader = DIALECT.reader(CANDIDATE, asked, Headers())
    assert reader
    return reader.feed(body[:at]) + reader.feed(body[at:]) + reader.finish()


def events(body: bytes) -> list[Any]:
    frames = [frame for frame in body.decode().replace("\r\n", "\n").split("\n\n") if frame]
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


def test_a_stream_is_taken_out_of_its_envelopes_wherever_it_is_cut() -> None:
    body = enveloped(STREAM).whole
    for at in range(len(body) + 1):
        assert events(read(body, at, stream=True)) == events(STREAM.whole)


def test_a_whole_answer_is_taken_out_wherever_it_is_cut() -> None:
    answer = native.text("gemini")
    body = enveloped(answer).whole
    for at in range(len(body) + 1):
        assert read(body, at, stream=False) == answer.whole


def test_a_client_that_wants_an_array_gets_one() -> None:
    assert json.loads(read(enveloped(STREAM).whole, 50, stream=True, query="")) == events(STREAM.whole)


def test_an_answer_with_line_ends_in_it_fits_one_line() -> None:
    assert opened(b'{\n "response": {\n  "a": 1\n }\n}') == b'{"a":1}'


def test_what_only_python_reads_is_taken_out_too() -> None:
    assert opened(b'{"response": {"a": NaN}}') == b'{"a":null}'


ERROR = {"error": {"code": 429, "message": "too much", "status": "RESOURCE_EXHAUSTED"}}


@pytest.mark.parametrize("error", [ERROR, [ERROR]], ids=["an object", "a list"])
def test_an_error_in_place_of_an_answer(error: Any) -> None:
    data = json.dumps(error).encode()
    assert json.loads(opened(data)) == ERROR
    assert events(read(b"data: " + data + b"\n\n", 9, stream=True)) == [ERROR]
    with pytest.raises(UpstreamRefused) as refused:
        read(data, 9, stream=False)
    assert (refused.value.status, refused.value.message) == (429, "too much")


@pytest.mark.parametrize("data", [b"{", b"1", b"[]", b"<html>"])
def test_what_is_no_answer_is_not_passed_on(data: bytes) -> None:
    with pytest.raises(UpstreamGarbled):
        opened(data)


@pytest.mark.parametrize(
    ("stream", "url"),
    [
        (False, "https://host.test/v1internal:generateContent"),
        (True, "https://host.test/v1internal:streamGenerateContent?alt=sse"),
    ],
)
@pytest.mark.parametrize("query", ["", "alt=sse", "$alt=json"])
def test_a_clients_own_path_and_query_are_not_cloud_codes(stream: bool, url: str, query: str) -> None:
    asked = call({"contents": CONTENTS}, stream=stream, action="x" if query else "", query=query)
    asked.path = "/v1beta/models/"
    asked.headers["ACCEPT-ENCODING"] = "gzip"
    request = DIALECT.request(CANDIDATE, asked)
    assert (request.method, request.url) == ("POST", url)
    assert request.headers["authorization"] == "Bearer test-access-1"
    assert request.headers.getall("accept-encoding") == ["identity"]
    assert asked.headers.getall("accept-encoding") == ["gzip"]


def test_tokens_are_counted_with_what_stands_beside_the_contents() -> None:
    system = {"parts": [{"text": "be kind"}]}
    whole = {"contents": CONTENTS, "systemInstruction": system, "generationConfig": {"topK": 1}}
    asked = call({"generateContentRequest": {"model": "models/x", **whole}}, Purpose.COUNT_TOKENS)
    request = DIALECT.request(CANDIDATE, asked)
    assert request.url == "https://host.test/v1internal:countTokens"
    assert isinstance(request.body, bytes)
    counted = [{"role": "user", "parts": system["parts"]}, *CONTENTS]
    assert json.loads(request.body) == {"request": {"model": "models/gemini-2.5-pro", "contents": counted}}
    assert DIALECT.reader(CANDIDATE, asked, Headers()) is None


def test_methods_about_the_account_pass_as_they_are() -> None:
    asked = call({"metadata": {}}, Purpose.NATIVE)
    asked.path = "/v1internal:loadCodeAssist"
    request = DIALECT.request(CANDIDATE, asked)
    assert (request.url, request.body) == ("https://host.test/v1internal:loadCodeAssist", b'{"metadata": {}}')
    assert DIALECT.reader(CANDIDATE, asked, Headers()) is None


@pytest.mark.parametrize(("named", "found"), [("a", ["a"]), ("a, b,", ["a", "b"]), ("", []), (None, []), (["a"], [])])
def test_an_account_can_have_several_projects(named: Any, found: list[str]) -> None:
    assert projects({"project_id": named}) == found
