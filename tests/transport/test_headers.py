"""cliproxy.transport.headers: which headers cross the gateway, each with its value, case and order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.exchange import Headers
from cliproxy.transport.headers import HOP_BY_HOP, described, forwarded, returned

KEPT_BOTH_WAYS = [
    ("Content-Type", "application/json; charset=utf-8"),
    ("X-Own", "é"),
    ("x-own", "second"),
    ("OpenAI-Beta", "responses=v1"),
    ("openai-organization", "org-test"),
    ("Anthropic-Version", "2023-06-01"),
    ("anthropic-beta", "a-1,b-2"),
    ("X-Goog-User-Project", "p"),
    ("x-goog-api-client", "gl-python/3.13"),
    ("x-stainless-lang", "python"),
    ("User-Agent", "claude-cli/2.0 (external, cli)"),
    ("Accept-Encoding", "gzip, br"),
    ("Content-Encoding", "zstd"),
    ("Accept", "text/event-stream"),
    ("session_id", "s-1"),
    ("x-request-id", "req-1"),
    ("anthropic-ratelimit-requests-remaining", "7"),
    ("Retry-After", "3"),
    ("Date", "Sat, 21 Nov 2026 08:48:38 GMT"),
    ("Empty", ""),
]
CONNECTION = [(name.title(), "x") for name in sorted(HOP_BY_HOP - {"connection"})]


@pytest.mark.parametrize("cross", [forwarded, returned])
def test_what_is_between_both_ends_crosses_as_it_is(cross) -> None:
    mixed = [pair for pairs in zip(KEPT_BOTH_WAYS, [*CONNECTION * 3], strict=False) for pair in pairs]
    assert list(cross(Headers([*mixed, *KEPT_BOTH_WAYS[len(mixed) // 2 :]])).items()) == KEPT_BOTH_WAYS


@pytest.mark.parametrize("cross", [forwarded, returned])
@pytest.mark.parametrize(
    "connection",
    [
        [("Connection", "keep-alive, X-Hop , x-other")],
        [("connection", "X-HOP,X-OTHER")],
        [("Connection", "x-hop"), ("Connection", "close, x-other")],
    ],
)
def test_a_connection_can_name_more_of_its_own(cross, connection: list[tuple[str, str]]) -> None:
    headers = Headers([("x-hop", "1"), *connection, ("X-Other", "2"), ("X-End", "3")])
    assert list(cross(headers).items()) == [("X-End", "3")]


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "x-api-key",
        "X-Anthropic-Api-Key",
        "x-openai-api-key",
        "X-Goog-Api-Key",
        "x-management-key",
        "Proxy-Authorization",
        "Cookie",
        "Host",
        "Content-Length",
        "Expect",
        "Forwarded",
        "Via",
        "X-Real-IP",
        "X-Forwarded-For",
        "x-forwarded-proto",
        "Transfer-Encoding",
        "Upgrade",
        "TE",
    ],
)
def test_what_is_the_clients_own_does_not_go_upstream(name: str) -> None:
    assert list(forwarded(Headers([(name, "sk-test"), ("X-Own", "1"), (name, "again")])).items()) == [("X-Own", "1")]


@pytest.mark.parametrize(
    "name",
    [
        "Set-Cookie",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Alt-Svc",
        "Strict-Transport-Security",
        "Access-Control-Allow-Origin",
        "access-control-expose-headers",
    ],
)
def test_what_is_the_upstreams_own_does_not_come_back(name: str) -> None:
    assert list(returned(Headers([(name, "x"), ("X-Own", "1")])).items()) == [("X-Own", "1")]


_names = st.sampled_from(["X-A", "x-a", "Cookie", "TE", "Content-Type", "X-Forwarded-Host", "authorization"])


@given(st.lists(st.tuples(_names, st.text("abc,; =", max_size=4)), max_size=8))
@settings(deadline=None)
def test_headers_cross_once_and_the_originals_stay(pairs: list[tuple[str, str]]) -> None:
    headers = Headers(pairs)
    for cross in (forwarded, returned):
        once = cross(headers)
        assert list(cross(once).items()) == list(once.items())
        assert list(headers.items()) == pairs
        survivors = iter(pairs)
        assert all(pair in survivors for pair in once.items()), "out of order"


def test_of_an_answer_that_is_translated_only_what_tells_of_the_call_is_described() -> None:
    answered = Headers(
        {
            "x-request-id": "r1",
            "x-ratelimit-remaining": "3",
            "content-type": "application/json",
            "content-encoding": "gzip",
            "set-cookie": "a=b",
            "etag": "e",
            "connection": "x-hop",
            "x-hop": "1",
            "x-cliproxy-served-by": "someone else",
        }
    )
    assert set(described(answered)) == {"x-request-id", "x-ratelimit-remaining"}
