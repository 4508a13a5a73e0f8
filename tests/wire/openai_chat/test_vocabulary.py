"""cliproxy.wire.openai_chat.vocabulary: usage both ways, and the names of vendor-side tools."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire.model import Carrier, Usage
from cliproxy.wire.openai_chat.vocabulary import (
    carried_details,
    details_carrier,
    field_carrier,
    server_tool_name,
    usage_json,
    usage_of,
)


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 2}, Usage(5, None, None, 2)),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}, Usage(5, 4)),
        (
            {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 3}},
            Usage(4, 2, 3),
        ),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_creation_tokens": 3}}, Usage(6, None, 3)),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 5}, Usage(5, 4)),
        ({"prompt_tokens": 9, "cached_tokens": 4}, Usage(5, 4)),
        ({"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}, Usage(0, 4)),
        (
            {"completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 3}},
            Usage(output=7, reasoning=3),
        ),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 7,
                "total_tokens": 15,
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(5, output=10, reasoning=3),
        ),
        ({"prompt_tokens": None, "prompt_tokens_details": None}, Usage()),
    ],
)
def test_usage_of_all_dialects(wire, usage):
    """class 8: cached tokens are neither lost nor counted twice."""
    assert usage_of(wire) == usage


_counts = st.integers(0, 1000)


@given(st.builds(Usage, _counts, _counts, _counts, _counts, st.just(0)))
def test_usage_is_conserved(usage):
    """class 8: there and back, and the totals are those of the parts."""
    wire = usage_json(usage)
    assert usage_of(wire) == usage
    assert wire["total_tokens"] == usage.input + usage.cache_read + usage.cache_write + usage.output


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("web_search", "web_search"),
        ("web_search_preview_2025_03_11", "web_search"),
        ("web_search_20250305", "web_search"),
        ("openrouter:web_search", "web_search"),
        ("google_search", "web_search"),
        ("googleSearch", "web_search"),
        ("url_context", "web_fetch"),
        ("web_fetch_20250910", "web_fetch"),
        ("codeExecution", "code_execution"),
        ("code_interpreter", "code_execution"),
        ("file_search", "file_search"),
    ],
)
def test_server_tools(word, name):
    assert server_tool_name(word) == name


@pytest.mark.parametrize(
    ("carrier", "details"),
    [
        (None, []),
        (field_carrier("reasoning"), []),
        (
            details_carrier([{"type": "reasoning.encrypted", "data": "x"}], visible=False),
            [{"type": "reasoning.encrypted", "data": "x"}],
        ),
        (Carrier("anthropic", "signature", '[{"a":1}]'), []),
        (Carrier("openai-chat", "signature", "tampered"), []),
        (Carrier("openai-chat", "signature", '{"a":1}'), []),
    ],
)
def test_details_that_a_carrier_holds(carrier, details):
    assert carried_details(carrier) == details
