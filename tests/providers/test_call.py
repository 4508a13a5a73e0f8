"""cliproxy.providers.call: a path put below a base URL."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.providers.call import join


@pytest.mark.parametrize(
    ("base_url", "path", "url"),
    [
        ("https://host.test", "/v1/messages", "https://host.test/v1/messages"),
        ("https://host.test/", "/v1/messages", "https://host.test/v1/messages"),
        ("https://host.test/v1", "/v1/messages", "https://host.test/v1/messages"),
        ("https://host.test/v1/", "v1/messages", "https://host.test/v1/messages"),
        ("https://host.test/v1", "/chat/completions", "https://host.test/v1/chat/completions"),
        ("https://host.test/team/v1beta", "/v1beta/models/m:x", "https://host.test/team/v1beta/models/m:x"),
        ("https://host.test/a/b", "/a/b/c", "https://host.test/a/b/c"),
        ("https://host.test/v1", "/v1", "https://host.test/v1"),
        ("https://host.test/v1", "/v1beta/models", "https://host.test/v1/v1beta/models"),
        ("https://host.test/api/v1/codex", "/responses", "https://host.test/api/v1/codex/responses"),
        ("https://v1", "/v1/messages", "https://v1/v1/messages"),
        ("http://127.0.0.1:8080", "/v1/a%2Fb//c", "http://127.0.0.1:8080/v1/a%2Fb//c"),
        ("http://[::1]:8080/v1", "/v1/x", "http://[::1]:8080/v1/x"),
        ("demo://in-process", "/v1/messages", "demo://in-process/v1/messages"),
    ],
)
def test_what_stands_on_both_sides_counts_once(base_url: str, path: str, url: str) -> None:
    assert join(base_url, path) == url
    assert join(base_url, path, "a=1&&b") == f"{url}?a=1&&b"


_segments = st.lists(st.sampled_from(["a", "b", "v1", "a%2Fb"]), max_size=4)


@given(_segments, _segments)
@settings(deadline=None)
def test_no_segment_is_lost(base: list[str], path: list[str]) -> None:
    url = join("/".join(["https://host.test", *base]), "/" + "/".join(path))
    joined = url.removeprefix("https://host.test").strip("/").split("/")
    assert joined[: len(base)] == base or not base
    assert joined[len(joined) - len(path) :] == path or not path
    assert len(joined) <= max(1, len(base) + len(path))
