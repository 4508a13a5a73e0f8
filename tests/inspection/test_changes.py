"""cliproxy.inspection.changes: what the gateway made of a client's request."""

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.inspection.changes import MAX_CHANGES, Difference, Sent, changes_text, differences
from cliproxy.wire.model import ModelFacts
from cliproxy.wire.translation import CODECS, Translation
from tests.native import FORMATS, Format
from tests.wire.conversations import CONVERSATIONS

CLIENT = [
    ("Host", "here"),
    ("X-Api-Key", "sk-t…#123456"),
    ("Accept-Encoding", "gzip"),
    ("X-Same", "1"),
    ("Content-Length", "9"),
]
UPSTREAM = [
    ("host", "there"),
    ("authorization", "Bearer sk-u…#abcdef"),
    ("accept-encoding", "identity"),
    ("x-same", "1"),
]


def sent(format: Format, body: Any, *, client: bool) -> Sent:
    url = "http://cliproxy.internal/x" if client else "https://upstream.test/y"
    return Sent("POST", url, CLIENT if client else UPSTREAM, json.dumps(body).encode(), format, "shown")


def test_what_changed_in_a_body_of_the_same_format_is_named_by_its_path() -> None:
    before = {"model": "a", "stream": True, "messages": [{"role": "user", "content": "hi"}], "user": "u"}
    after = {"model": "b", "stream": True, "messages": [{"role": "user", "content": "hi"}], "tools": [{"x": 1}]}
    text = changes_text(sent("openai-chat", before, client=True), sent("openai-chat", after, client=False))
    assert "format: unchanged" in text
    assert '  changed:\n    model: a → b\n  removed:\n    user: u\n  added:\n    tools: "[{\\"x\\":1}]"\n' in text


def test_headers_that_came_went_and_changed() -> None:
    text = changes_text(sent("gemini", {}, client=True), sent("gemini", {}, client=False))
    assert "body: the same bytes" in text
    headers = text.partition("headers:\n")[2]
    assert headers == (
        "  removed:\n    x-api-key: sk-t…#123456\n"
        "  changed:\n    accept-encoding: gzip → identity\n"
        "  added:\n    authorization: Bearer sk-u…#abcdef"
    )


@pytest.mark.parametrize(("client", "upstream"), list(permutations(FORMATS, 2)))
def test_another_format_is_no_change_of_what_is_said(client: Format, upstream: Format) -> None:
    request = CODECS[client].decode_request(CONVERSATIONS[client], model="shown")
    facts = ModelFacts("upstream-model", max_output_tokens=4096)
    translation = Translation(request, upstream, facts, "shown")
    ours = sent(client, CONVERSATIONS[client], client=True)
    theirs = Sent("POST", "https://upstream.test/y", UPSTREAM, translation.body, upstream, "upstream-model")
    text = changes_text(ours, theirs, translation.encoded.dropped)
    assert f"format: {client} → {upstream}" in text
    assert "model: shown → upstream-model" in text
    for said in ("Be brief.", "Let me look.", "And now?", "Weather?", "get_weather"):
        assert said not in text, text


def test_what_was_dropped_is_told() -> None:
    dropped = ["thinking: the model has no budget"]
    text = changes_text(sent("gemini", {}, client=True), sent("gemini", {}, client=False), dropped)
    assert "dropped:\n  thinking: the model has no budget\n" in text


def test_bodies_that_are_no_json_are_not_compared() -> None:
    ours = Sent("POST", "http://a/", (), b"\xff1", None)
    theirs = Sent("POST", "http://b/", (), b"\xff22", None)
    assert "body: 2 → 3 bytes, which cannot be compared" in changes_text(ours, theirs)


def test_of_long_texts_the_part_that_differs_is_shown() -> None:
    before = {"system": "x" * 5000 + " old end"}
    [change] = differences(before, {"system": "x" * 5000 + " new end"})
    assert change == Difference("changed", "system", f"…{'x' * 19} old end → …{'x' * 19} new end")


def test_lists_are_aligned_at_both_ends() -> None:
    before = [{"n": n} for n in range(6)]
    assert list(differences(before, [before[0], {"n": 99}, *before[1:]], "turns")) == [
        ("added", "turns[1]", '{"n":99}')
    ]
    assert list(differences(before, before[:2] + before[3:], "turns")) == [("removed", "turns[2]", '{"n":2}')]
    changed = [*before[:3], {"n": "three"}, *before[4:]]
    assert list(differences(before, changed, "turns")) == [("changed", "turns[3].n", "3 → three")]


def test_many_changes_stay_within_bounds() -> None:
    before, after = ({str(n): n + offset for n in range(MAX_CHANGES + 7)} for offset in (0, 1))
    text = changes_text(sent("gemini", before, client=True), sent("gemini", after, client=False))
    assert "and: 7 more changes" in text


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(_json, _json)
def test_there_are_differences_exactly_where_values_differ(before: Any, after: Any) -> None:
    assert not list(differences(before, before))
    # `False`, `None` and what is empty say the same: nothing.
    if before != after and before and after:
        assert list(differences(before, after)) or not (before and after) or _says_the_same(before, after)


def _says_the_same(before: Any, after: Any) -> bool:
    return json.dumps(_said(before), sort_keys=True) == json.dumps(_said(after), sort_keys=True)


def _said(value: Any) -> Any:
    match value:
        case dict():
            return {
                name: said for name, each in value.items() if (said := _said(each)) not in (None, False, [], {}, "")
            }
        case list():
            return [_said(each) for each in value]
        case _:
            return value
