"""Payload rules: which requests they are for, what they change, and what they leave as it was."""

import json
import logging
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.config.schema import Payload
from cliproxy.routing.payload import PayloadRules
from cliproxy.wire.model import Format

ANY = [{"name": "*"}]


def rules(**sections: object) -> PayloadRules:
    return PayloadRules(Payload.model_validate(sections))


def applied(
    rules: PayloadRules,
    body: dict[str, Any],
    *,
    original: dict[str, Any] | None = None,
    model: str = "gpt-5",
    upstream: Format = "openai-chat",
    client: Format = "openai-chat",
    headers: dict[str, str] | None = None,
    provider: str = "",
    client_model: str = "",
) -> dict[str, Any]:
    return json.loads(
        rules.apply(
            json.dumps(body).encode(),
            model=model,
            upstream=upstream,
            client=client,
            headers=headers or {},
            original=None if original is None else json.dumps(original).encode(),
            provider=provider,
            client_model=client_model,
        )
    )


# ---------------------------------------------------------------- what is changed


def test_a_default_is_written_where_the_body_has_nothing() -> None:
    defaults = rules(default=[{"models": ANY, "params": {"temperature": 0.7, "reasoning.effort": "low", "top_p": 1}}])
    assert applied(defaults, {"top_p": None, "reasoning": {"summary": "auto"}}) == {
        "top_p": None,
        "reasoning": {"summary": "auto", "effort": "low"},
        "temperature": 0.7,
    }


def test_of_several_defaults_the_first_wins_and_of_several_overrides_the_last() -> None:
    both = rules(
        default=[{"models": ANY, "params": {"a.b": 1}}, {"models": ANY, "params": {"a.b": 2, "a.c": 3}}],
        default_raw=[{"models": ANY, "params": {"a.b": "4", "a": '{"d": 5}'}}],
        override=[{"models": ANY, "params": {"x": 1}}, {"models": ANY, "params": {"x": 2}}],
    )
    assert applied(both, {}) == {"a": {"b": 1, "c": 3}, "x": 2}


def test_defaults_go_by_what_was_missing_before_thinking_was_written() -> None:
    defaults = rules(
        default=[
            {"models": ANY, "params": {"reasoning.effort": "low", "user": "me"}},
            {"models": ANY, "params": {"user": "x"}},
        ]
    )
    normalised = {"reasoning": {"effort": "high"}, "user": "you"}
    assert applied(defaults, normalised) == normalised
    assert applied(defaults, normalised, original={"user": "you"}) == {"reasoning": {"effort": "low"}, "user": "you"}
    assert applied(defaults, {}, original={}) == {"reasoning": {"effort": "low"}, "user": "me"}


def test_overrides_write_and_filters_remove() -> None:
    both = rules(
        override=[{"models": ANY, "params": {"service_tier": "priority", "tools.#(type=='web').uses": 3}}],
        filter=[{"models": ANY, "params": ["user", "tools.#(type=='code')#", "nothing.here"]}],
    )
    body = {"user": "u", "tools": [{"type": "code"}, {"type": "web"}, {"type": "code"}]}
    assert applied(both, body) == {"tools": [{"type": "web", "uses": 3}], "service_tier": "priority"}


def test_the_sections_run_in_their_order() -> None:
    ordered = rules(
        filter=[{"models": ANY, "params": ["gone"]}],
        override_raw=[{"models": ANY, "params": {"b": "3"}}],
        override=[{"models": ANY, "params": {"a": 2, "b": 2, "gone": 2}}],
        default_raw=[{"models": ANY, "params": {"a": "1", "c": "1"}}],
        default=[{"models": ANY, "params": {"c": 0, "d": 0}}],
    )
    assert applied(ordered, {}) == {"a": 2, "b": 3, "c": 0, "d": 0}


def test_raw_values_are_json_text_and_others_are_taken_as_they_are() -> None:
    raw = rules(
        override_raw=[{"models": ANY, "params": {"format": '{"type": "json_schema", "n": 1.50}', "n": 5, "list": [1]}}],
        override=[{"models": ANY, "params": {"text": '{"a": 1}'}}],
    )
    assert applied(raw, {}) == {"format": {"type": "json_schema", "n": 1.5}, "n": 5, "list": [1], "text": '{"a": 1}'}


def test_a_later_rule_changes_only_the_body_and_never_the_config() -> None:
    changing = rules(override=[{"models": ANY, "params": {"a": {"b": [1]}}}, {"models": ANY, "params": {"a.b.-1": 2}}])
    for _ in range(2):
        assert applied(changing, {}) == {"a": {"b": [1, 2]}}


def test_conditions_see_what_the_rules_before_have_left() -> None:
    chained = rules(
        default=[{"models": ANY, "params": {"stage": 1}}],
        override=[{"models": [{"match": [{"stage": 1}]}], "params": {"stage": 2}}],
        filter=[{"models": [{"match": [{"stage": 1}]}], "params": ["stage"]}],
    )
    assert applied(chained, {}) == {"stage": 2}


# ---------------------------------------------------------------- what is left alone


def test_a_body_that_no_rule_is_for_is_the_very_same_object() -> None:
    body = b'{ "a": 1 }'
    call: dict[str, Any] = {"model": "gpt-5", "upstream": "openai-chat", "client": "openai-chat", "headers": {}}
    for none in (
        rules(),
        rules(override=[{"models": [], "params": {"a": 2}}]),
        rules(override=[{"models": [{"name": "claude-*"}], "params": {"a": 2}}]),
        rules(override=[{"models": [{"match": [{"a": 2}]}], "params": {"a": 2}}]),
        rules(default=[{"models": ANY, "params": {"a": 2}}]),
        rules(filter=[{"models": ANY, "params": ["b", "a.b"]}]),
    ):
        assert none.apply(body, **call) is body


def test_members_that_no_rule_writes_to_keep_their_bytes() -> None:
    body = b'{"big": 123456789012345678901234567890, "f": 1.0E2, "text": "\\u00e9\\/", "messages": [ {"role":"user"} ], "a":{"z":1e1,"b":2}}'
    out = rules(
        override=[{"models": [{"match": [{"messages.0.role": "user"}]}], "params": {"a.b": 3, "new": 4, "more": 5}}]
    ).apply(body, model="m", upstream="gemini", client="gemini", headers={})
    assert out == (
        b'{"big":123456789012345678901234567890,"f":1.0E2,"text":"\\u00e9\\/","messages":[ {"role":"user"} ],'
        b'"a":{"z":10.0,"b":3},"new":4,"more":5}'
    )


def test_a_body_that_only_the_standard_library_reads_is_changed_too() -> None:
    out = rules(override=[{"models": ANY, "params": {"b": 1}}]).apply(
        b'{"a": "\\ud800", "b": NaN}', model="m", upstream="gemini", client="gemini", headers={}
    )
    assert json.loads(out) == {"a": "�", "b": 1}


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.dictionaries(st.sampled_from("abcd"), st.recursive(st.integers() | FINITE | st.text(), st.lists)),
    st.sampled_from("abcde"),
)
def test_only_the_place_that_a_rule_names_changes(body: dict[str, Any], name: str) -> None:
    assert applied(rules(override=[{"models": ANY, "params": {name: "new"}}]), body) == {**body, name: "new"}
    without = {key: value for key, value in body.items() if key != name}
    assert applied(rules(filter=[{"models": ANY, "params": [name]}]), body) == without
    assert applied(rules(default=[{"models": ANY, "params": {name: "new"}}]), body) == {name: "new", **body}


# ---------------------------------------------------------------- which requests a rule is for


def is_for(selector: dict[str, Any], body: dict[str, Any] | None = None, **call: Any) -> bool:
    return "hit" in applied(rules(override=[{"models": [selector], "params": {"hit": 1}}]), body or {}, **call)


@pytest.mark.parametrize(
    ("name", "hit"),
    [
        ("gpt-5", True),
        ("GPT-*", True),
        ("*", True),
        ("gpt", False),
        ("gpt-5-*", False),
        ("fast", True),
        ("claude", False),
    ],
)
def test_the_model_by_the_upstreams_name_or_the_clients(name: str, hit: bool) -> None:
    assert is_for({"name": name}, model="gpt-5", client_model="fast") is hit


@pytest.mark.parametrize(
    ("protocol", "hit"),
    [("codex", True), ("responses", True), ("openai-responses", True), ("openai", False), ("claude", False)],
)
def test_the_protocol_is_the_upstreams_format_or_the_provider(protocol: str, hit: bool) -> None:
    assert is_for({"protocol": protocol}, upstream="openai-responses", provider="codex") is hit


def test_a_provider_that_is_not_told_is_none() -> None:
    assert not is_for({"protocol": "codex"}, upstream="openai-responses")


@pytest.mark.parametrize(("protocol", "hit"), [("claude", True), ("openai", False)])
def test_the_protocol_that_the_client_speaks(protocol: str, hit: bool) -> None:
    assert is_for({"from-protocol": protocol}, client="anthropic") is hit


@pytest.mark.parametrize(
    ("wanted", "hit"),
    [
        ({"x-client-tier": "tenant-*-region-*"}, True),
        ({"X-Client-Tier": "TENANT-1-REGION-eu"}, True),
        ({"X-Client-Tier": "tenant"}, False),
        ({"X-Client-Tier": "*", "X-Other": "*"}, False),
        ({"X-Client-Tier": "*", "User-Agent": "codex*"}, True),
    ],
)
def test_all_headers_must_have_their_values(wanted: dict[str, str], hit: bool) -> None:
    headers = {"X-CLIENT-TIER": "tenant-1-region-eu", "user-agent": "codex_cli/1"}
    assert is_for({"headers": wanted}, headers=headers) is hit


BODY = {
    "stream": True,
    "n": 1,
    "temperature": 1.0,
    "user": None,
    "metadata": {"client": "codex", "tags": ["a", 1]},
    "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}],
    "since": "2026-01-01",
}


@pytest.mark.parametrize(
    ("wanted", "same"),
    [
        ({"metadata.client": "codex"}, True),
        ({"metadata.client": "Codex"}, False),
        ({"metadata.client": "codex", "n": 2}, False),
        ({"stream": True}, True),
        ({"stream": 1}, False),
        ({"n": True}, False),
        ({"n": 1.0}, True),
        ({"temperature": 1}, True),
        ({"user": None}, True),
        ({"missing": None}, False),
        ({"metadata": {"tags": ["a", 1], "client": "codex"}}, True),
        ({"metadata.tags": ["a", True]}, False),
        ({"metadata.tags": ["a"]}, False),
        ({"tools.#(type=='function')#.name": "f"}, True),
        ({"tools.#()#.type": "web_search"}, True),
        ({"tools.#.type": ["function", "web_search"]}, True),
        ({"tools.#": 2}, True),
    ],
)
def test_paths_with_the_values_they_must_or_must_not_have(wanted: dict[str, Any], same: bool) -> None:
    assert is_for({"match": [wanted]}, BODY) is same
    assert is_for({"match": [{"n": 1}, wanted]}, BODY) is same
    if len(wanted) == 1:
        assert is_for({"not-match": [wanted]}, BODY) is not same
        assert is_for({"not-match": [{"n": 7}, wanted]}, BODY) is not same


def test_a_date_in_the_config_is_text_in_a_body() -> None:
    assert is_for({"match": [{"since": date(2026, 1, 1)}]}, BODY)


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ('tools.#(type=="web_search").type', True),
        ('tools.#(type=="code").type', False),
        ("metadata.client", True),
        ("user", False),
        ("missing", False),
        ("tools.#.name", True),
        ("tools.#.cache_control", False),
    ],
)
def test_paths_that_must_or_must_not_be_there(path: str, there: bool) -> None:
    assert is_for({"exist": [path]}, BODY) is there
    assert is_for({"exist": ["n", path]}, BODY) is there
    assert is_for({"not-exist": [path]}, BODY) is not there
    assert is_for({"not-exist": ["missing", path]}, BODY) is not there


def test_one_of_several_selectors_is_enough() -> None:
    several = rules(
        override=[{"models": [{"name": "a"}, {"name": "gpt-*", "match": [{"n": 1}]}], "params": {"hit": 1}}]
    )
    assert "hit" in applied(several, {"n": 1})
    assert "hit" not in applied(several, {"n": 2})
    assert "hit" in applied(several, {"n": 2}, model="a")


# ---------------------------------------------------------------- rules that are not understood


@pytest.mark.parametrize(
    "bad",
    [
        {"params": {"a*": 1, "b": 1}},
        {"params": {"a.#": 1}},
        {"params": {"a": {None: 1}}},
        {"models": [{"exist": ["a.@this"]}], "params": {"a": 1}},
        {"models": [{"not-exist": ["a..b"]}], "params": {"a": 1}},
        {"models": [{"match": [{"a|b": 1}]}], "params": {"a": 1}},
        {"models": [{"not-match": [{"a.#(": 1}]}], "params": {"a": 1}},
    ],
)
def test_a_rule_that_is_not_understood_is_left_out_with_one_warning(
    bad: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        some = rules(override=[{"models": ANY, "params": {"good": 1}}, {"models": ANY, **bad}])
        for _ in range(3):
            assert applied(some, {"secret": "body"}) == {"secret": "body", "good": 1}
    (record,) = caplog.records
    assert record.getMessage().startswith("payload: rule 2 of override is left out: ")
    assert "body" not in record.getMessage()


def test_rules_are_true_where_there_is_one() -> None:
    assert not rules()
    assert not rules(filter=[{"models": ANY, "params": ["a|b"]}])
    assert rules(filter=[{"models": ANY, "params": ["a"]}])
