"""Conversions that requests and answers share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire.model import Citation, FinishReason, Json, Usage
from cliproxy.wire.openai_responses.vocabulary import citation_json, citation_of, finish_words, usage_json, usage_of

_COUNTS = st.integers(0, 10**9)


@given(st.builds(Usage, _COUNTS, _COUNTS, _COUNTS, _COUNTS, _COUNTS))
def test_usage_is_conserved(usage: Usage) -> None:
    """class 8."""
    written = usage_json(usage)
    assert usage_of(written) == usage
    assert written["total_tokens"] == written["input_tokens"] + written["output_tokens"]


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({}, Usage()),
        ({"input_tokens": 7, "output_tokens": 2}, Usage(input=7, output=2)),
        # Some servers leave the cached tokens out of the total.
        (
            {"input_tokens": 5, "input_tokens_details": {"cached_tokens": 9}},
            Usage(input=0, cache_read=9),
        ),
        ({"input_tokens": "7", "output_tokens_details": None}, Usage(input=7)),
        ({"input_tokens": [7], "output_tokens": True}, Usage()),
    ],
)
def test_usage_as_reported(counts: Json, usage: Usage) -> None:
    assert usage_of(counts) == usage


@pytest.mark.parametrize("finish", ["stop", "stop_sequence", "tool", "pause"])
def test_only_some_endings_are_incomplete(finish: FinishReason) -> None:
    assert finish_words(finish, refused=False) == ("completed", None)


def test_an_citation_json_this_api_is_kept_and_one_of_chat_is_not() -> None:
    ours: Json = {
        "type": "url_citation",
        "url": "https://a.test",
        "title": "A",
        "start_index": 1,
        "end_index": 3,
    }
    assert citation_json(citation_of(ours), 9) == ours
    chats: Json = {"type": "url_citation", "url_citation": {"url": "https://a.test"}}
    assert citation_json(Citation("https://a.test", "A", start=1, end=3, raw=chats), 9) == ours
    assert citation_json(Citation(title="A book", quote="words"), 9) is None
