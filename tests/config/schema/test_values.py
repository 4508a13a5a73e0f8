"""Kinds of values: what each takes, what it makes of it, and what it says where it does not take it."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import TypeAdapter, ValidationError

from cliproxy.config.schema.values import (
    Duration,
    HeaderName,
    Headers,
    HttpUrl,
    ListenHost,
    Prefix,
    ProxyUrl,
    Section,
    one_of,
)


def read(kind: Any, value: object) -> Any:
    return TypeAdapter(kind).validate_python(value)


def refusal(kind: Any, value: object) -> str:
    with pytest.raises(ValidationError) as invalid:
        read(kind, value)
    return invalid.value.errors()[0]["msg"].removeprefix("Value error, ")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1h", 3600), ("1h30m", 5400), ("1h0m5s", 3605), ("250ms", 0.25), ("1.5h", 5400), (" 2m ", 120),
     (45, 45), (0.5, 0.5), (0, 0)],
)  # fmt: skip
def test_durations(text: object, seconds: float) -> None:
    assert read(Duration, text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1", "1 h", "1d", "-1h", "30m1h", -1, True, None, ["1h"]])
def test_what_is_no_duration(text: object) -> None:
    assert refusal(Duration, text) == "a duration such as 90s, 30m or 1h30m"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", ""),
        ("http://127.0.0.1:1/", "http://127.0.0.1:1"),
        ("https://api.example.com/v1//", "https://api.example.com/v1"),
        ("http://[::1]:8080/a", "http://[::1]:8080/a"),
    ],
)
def test_http_urls_lose_their_trailing_slash(text: str, url: str) -> None:
    assert read(HttpUrl, text) == url


@pytest.mark.parametrize(
    "text",
    ["example.com", "//example.com", "ftp://h", "http://", "https:///v1", "http://h:port", "http://h:0", "http://h:70000",
     "http://[::1", "http://a b", "/v1", "http:/h"],
)  # fmt: skip
def test_what_is_no_http_url(text: str) -> None:
    assert refusal(HttpUrl, text) == "an http:// or https:// URL with a host"


def test_an_address_that_paths_are_added_to_has_no_query_and_no_login() -> None:
    assert refusal(HttpUrl, "http://h/v1?key=a") == "a URL without ? and #, since paths are added to its end"
    assert refusal(HttpUrl, "http://h/v1#a") == "a URL without ? and #, since paths are added to its end"
    assert refusal(HttpUrl, "http://u:p@h/v1").startswith("a URL without user name and password")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", ""),
        ("direct", "direct"),
        ("None", "direct"),
        ("http://u:p@proxy:3128", "http://u:p@proxy:3128"),
        ("https://proxy", "https://proxy"),
        ("socks5://127.0.0.1:1080/", "socks5://127.0.0.1:1080"),
        ("socks5h://[::1]:1080", "socks5h://[::1]:1080"),
    ],
)
def test_proxy_urls(text: str, url: str) -> None:
    assert read(ProxyUrl, text) == url


@pytest.mark.parametrize("text", ["proxy:3128", "socks4://h", "ftp://h", "socks5://", "system"])
def test_what_is_no_proxy_url(text: str) -> None:
    assert refusal(ProxyUrl, text).startswith("an http, https, socks5 or socks5h URL with a host")


@pytest.mark.parametrize(
    ("text", "host"),
    [("", ""), ("localhost", "localhost"), ("0.0.0.0", "0.0.0.0"), ("::1", "::1"), ("[::1]", "::1")],
)
def test_hosts_to_listen_on(text: str, host: str) -> None:
    assert read(ListenHost, text) == host


@pytest.mark.parametrize("text", ["127.0.0.1:8317", "http://h", "a b", "h/", "u@h", "[::1]:8317"])
def test_what_is_no_host(text: str) -> None:
    assert refusal(ListenHost, text).startswith("a host name or an IP address")


def test_a_prefix_is_one_segment() -> None:
    assert [read(Prefix, text) for text in ("", "team", "/team/")] == ["", "team", "team"]
    for text in ("a/b", "a b"):
        assert refusal(Prefix, text) == "a single path segment, without / and spaces"


def test_headers() -> None:
    headers = {"X-A": "text", "X-B": "$X-Client", "X-C": None, "x_d": "", "X-E": "a\tb"}
    assert read(Headers, headers) == headers
    assert refusal(HeaderName, "X:Y") == refusal(HeaderName, "") == "the name of a header"
    assert refusal(Headers, {"X-A": "a\r\nX-B: b"}) == "a header's value on one line"
    assert (
        refusal(Headers, {"X-A": "$"}) == refusal(Headers, {"X-A": "$a b"}) == "the name of a client's header after $"
    )


@pytest.mark.parametrize("text", ["RR", " round_robin ", "Round-Robin", "round-robin"])
def test_words_may_be_written_in_several_ways(text: str) -> None:
    assert read(Annotated[Literal["round-robin"], one_of(rr="round-robin")], text) == "round-robin"


class Example(Section):
    some_key: str = ""
    """A key."""


def test_a_section_takes_both_spellings_and_nothing_else() -> None:
    assert Example.model_validate({"some-key": " a "}) == Example(some_key="a")
    assert Example(some_key="a").model_dump(by_alias=True) == {"some-key": "a"}
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Example.model_validate({"other": 1})


def test_a_section_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Example().some_key = "a"  # pyright: ignore[reportAttributeAccessIssue]
