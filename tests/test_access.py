"""cliproxy.access: who is let in, by which key from where, and which parts of a query are keys."""

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cliproxy.access import Access, presented_keys, without_keys
from cliproxy.config.schema import ClientKey
from cliproxy.exchange import ClientRequest, Headers, Intercepted
from cliproxy.secrets import mask
from cliproxy.wire.errors import ClientFault

KEY = "sk-test-right-key-0"


def request(query: str = "", *, trusted: bool = False, headers: Mapping[str, str] | None = None) -> ClientRequest:
    return ClientRequest("POST", "/v1/messages", query, Headers(headers or {}), b"", trusted=trusted)


def access(*keys: Any) -> Access:
    return Access([ClientKey.model_validate({"key": key} if isinstance(key, str) else key) for key in keys])


def refusal(access: Access, asking: ClientRequest) -> str:
    """The message of the 401."""
    with pytest.raises(ClientFault) as caught:
        access.admit(asking)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    return caught.value.message


PLACES: list[tuple[str, Mapping[str, str]]] = [
    ("", {"Authorization": f"Bearer {KEY}"}),
    ("", {"authorization": f"bearer   {KEY} "}),
    ("", {"Authorization": KEY}),
    ("", {"X-Goog-Api-Key": KEY}),
    ("", {"x-api-key": KEY}),
    (f"key={KEY}", {}),
    (f"beta=true&auth_token={KEY}&alt=sse", {}),
    (f"key={KEY.replace('-', '%2D')}", {}),
]


@pytest.mark.parametrize(("query", "headers"), PLACES)
def test_a_key_is_taken_from_each_place(query: str, headers: Mapping[str, str]) -> None:
    asking = request(query, headers=headers)
    assert access("sk-test-other", KEY).admit(asking).name == mask(KEY)
    assert refusal(access("sk-test-other"), asking) == "the API key is not valid"


@pytest.mark.parametrize(("query", "headers"), PLACES[3:])
def test_a_wrong_key_before_a_right_one_does_no_harm(query: str, headers: Mapping[str, str]) -> None:
    asking = request(query, headers={"Authorization": "Bearer of-another-service", **headers})
    assert access(KEY).admit(asking).name == mask(KEY)


def test_the_places_are_searched_in_order() -> None:
    headers = {"x-api-key": "third", "x-goog-api-key": "second", "authorization": "Bearer first"}
    asking = request("auth_token=fifth&key=fourth", headers=headers)
    assert list(presented_keys(asking)) == ["first", "second", "third", "fourth", "fifth"]


@pytest.mark.parametrize(
    ("query", "headers"), [("", {}), ("key=", {}), ("alt=sse", {"x-api-key": ""}), ("", {"authorization": "  "})]
)
def test_a_missing_key_is_asked_for(query: str, headers: Mapping[str, str]) -> None:
    assert "missing" in refusal(access(KEY), request(query, headers=headers))


@given(st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda guess: guess.strip() != KEY))
@settings(deadline=None)
def test_no_guess_is_let_in_and_none_is_repeated(guess: str) -> None:
    message = refusal(access(KEY), request(headers={"x-api-key": guess}))
    assert message == "the API key is not valid"


def test_a_key_of_bytes_that_are_not_utf8_is_only_wrong() -> None:
    assert "not valid" in refusal(access(KEY), request(headers={"authorization": "Bearer \udcff"}))


@pytest.mark.parametrize("position", [0, 1, 2])
def test_every_key_is_compared_wherever_the_right_one_stands(position: int, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bool] = []
    compare = hmac.compare_digest

    def counting(known: bytes, offered: bytes) -> bool:
        compared.append(compare(known, offered))
        return compared[-1]

    monkeypatch.setattr(hmac, "compare_digest", counting)
    keys = ["sk-test-a", "sk-test-b"]
    keys.insert(position, KEY)
    access(*keys).admit(request(headers={"x-api-key": KEY}))
    assert [place for place, same in enumerate(compared) if same] == [position]
    assert len(compared) == 3


def test_without_keys_everyone_is_let_in() -> None:
    gate = access()
    assert gate.is_open
    assert gate.admit(request()).name == ""
    assert not access(KEY).is_open


def test_the_operator_needs_no_key() -> None:
    assert access(KEY).admit(request(trusted=True)).name == ""


def test_an_intercepted_tool_of_another_machine_needs_a_key_even_where_none_is_asked_for() -> None:
    asking = request()
    asking.intercepted = Intercepted("pool", "claude", "https://api.anthropic.com/v1/messages")
    with pytest.raises(ClientFault) as caught:
        access().admit(asking)
    assert (caught.value.status, caught.value.code) == (403, "not_local")
    assert refusal(access(KEY), asking)
    asking.headers["x-api-key"] = KEY
    assert access(KEY).admit(asking).name == mask(KEY)
    asking.trusted = True
    assert access().admit(asking).name == ""


def test_a_key_is_known_by_its_name() -> None:
    gate = access({"key": KEY, "name": "laptop"})
    assert gate.admit(request(headers={"x-api-key": KEY})).name == "laptop"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_keys_of_the_template_are_refused(number: int) -> None:
    with pytest.raises(ValidationError, match="template"):
        access(f"your-api-key-{number}")


def test_a_key_ends_with_its_day() -> None:
    now = datetime.now(UTC)
    asking = request(headers={"x-api-key": KEY})
    assert "expired" in refusal(access({"key": KEY, "expires": now - timedelta(seconds=1)}), asking)
    assert access({"key": KEY, "expires": now + timedelta(hours=1)}).admit(asking).name


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("", ""),
        ("key=a", ""),
        ("key", "key"),
        ("alt=sse", "alt=sse"),
        ("key=a&alt=sse", "alt=sse"),
        ("alt=sse&auth_token=a&beta=true", "alt=sse&beta=true"),
        ("a=%2B+%20&&b&key=1&c=%C3", "a=%2B+%20&&b&c=%C3"),
        ("monkey=1&key=2&keyed=3", "monkey=1&keyed=3"),
        ("%6Bey=a&alt=sse", "alt=sse"),
        ("auth%5Ftoken=a&alt=sse", "alt=sse"),
    ],
)
def test_a_query_loses_its_keys_and_nothing_else(query: str, kept: str) -> None:
    assert without_keys(query) == kept


_NAMES = ("key", "auth_token", "k%65y", "keys", "alt", "$alt", "pageSize", "", "a+b", "%")
_pairs = st.tuples(st.sampled_from(_NAMES), st.text("a=%2B+;é/?", max_size=5)).map("=".join)


@given(st.lists(_pairs, max_size=6))
@settings(deadline=None)
def test_what_is_left_of_a_query_holds_no_key(pairs: list[str]) -> None:
    left = without_keys("&".join(pairs))
    assert not list(presented_keys(request(left)))
    own = [pair for pair in pairs if unquote_plus(pair.partition("=")[0]) not in ("key", "auth_token")]
    assert left == "&".join(own)
