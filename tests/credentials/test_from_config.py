"""The credentials that a config file holds."""

import pytest

from cliproxy.config import parse_config
from cliproxy.credentials.from_config import credentials_of
from cliproxy.credentials.record import Credential


def credentials(text: str) -> list[Credential]:
    loaded = parse_config(text)
    assert not loaded.warnings
    return [one for one in credentials_of(loaded.config) if one.provider != "demo"]


def test_sections_become_credentials_of_their_providers_and_formats() -> None:
    found = credentials("""
gemini-api-key: [{api-key: sk-test-g}]
claude-api-key: [{api-key: sk-test-a}]
codex-api-key: [{api-key: sk-test-c, base-url: "http://codex.test/v1/"}]
openai-compatibility:
  - {name: other, base-url: "http://other.test/v1", api-key-entries: [{api-key: sk-test-o}], models: [{name: m}]}
""")
    assert {(one.provider, one.formats[0], one.base_url, one.secret) for one in found} == {
        ("gemini", "gemini", "https://generativelanguage.googleapis.com", "sk-test-g"),
        ("claude", "anthropic", "https://api.anthropic.com", "sk-test-a"),
        ("codex", "openai-responses", "http://codex.test/v1", "sk-test-c"),
        ("other", "openai-chat", "http://other.test/v1", "sk-test-o"),
    }
    assert [one.provider for one in found if one.streams_only] == ["codex"]


def test_disabled_entries_are_left_out() -> None:
    assert not credentials("""
claude-api-key: [{api-key: sk-test-a, disabled: true}]
openai-compatibility: [{name: other, base-url: "http://other.test", disabled: true, models: [{name: m}]}]
""")


def test_each_key_of_a_compatible_upstream_is_a_credential() -> None:
    first, second = credentials("""
openai-compatibility:
  - name: other
    base-url: http://other.test
    proxy-url: http://shared.test
    api-key-entries: [{api-key: sk-test-1, weight: 3}, {api-key: sk-test-2, proxy-url: "http://own.test"}]
    models: [{name: big, alias: small, force-mapping: true}]
""")
    assert (first.secret, first.weight, first.proxy_url) == ("sk-test-1", 3, "http://shared.test")
    assert (second.secret, second.weight, second.proxy_url) == ("sk-test-2", 1, "http://own.test")
    (model,) = first.models
    assert (model.name, model.upstream, model.force_mapping) == ("small", "big", True)


def test_a_compatible_upstream_may_speak_another_format_and_have_a_vendors_rules() -> None:
    claude, kimi = credentials("""
openai-compatibility:
  - {name: custom, base-url: "http://c.test", wire: anthropic, models: [{name: m}]}
  - {name: moonshot, base-url: "http://m.test/v1", dialect: kimi, models: [{name: m}]}
""")
    assert (claude.formats, claude.dialect) == (("anthropic",), "")
    assert (kimi.formats, kimi.dialect) == (("openai-chat",), "kimi")


def test_a_compatible_upstream_needs_no_key() -> None:
    (one,) = credentials('openai-compatibility: [{name: local, base-url: "http://l.test", models: [{name: m}]}]')
    assert (one.secret, one.label) == ("", "local")


@pytest.mark.parametrize(
    ("top", "own", "cools"),
    [("false", "", True), ("true", "", False), ("true", "false", True), ("false", "true", False)],
)
def test_disable_cooling_of_an_entry_wins_over_the_top_levels(top: str, own: str, cools: bool) -> None:
    entry = f", disable-cooling: {own}" if own else ""
    (one,) = credentials(f"disable-cooling: {top}\nclaude-api-key: [{{api-key: sk-test-a{entry}}}]")
    assert one.cools is cools


def test_what_steers_the_pool_is_taken_over() -> None:
    (one,) = credentials("""
claude-api-key:
  - api-key: sk-test-a
    priority: 4
    weight: 9
    prefix: team
    max-concurrent: 2
    request-retry: 0
    excluded-models: [Claude-2*]
    headers: {x-team: blue}
    request-scoped-errors: [{status: 500, match: [odd], action: stop}]
    models: [{name: claude-x, alias: x, thinking: {min: 1, max: 9, levels: [low, high]}}]
""")
    assert (one.priority, one.weight, one.prefix, one.max_concurrent, one.request_retry) == (4, 9, "team", 2, 0)
    assert (one.excluded, one.headers) == (("claude-2*",), {"x-team": "blue"})
    assert [rule.action for rule in one.error_rules] == ["stop"]
    thinking = one.models[0].thinking
    assert thinking
    assert (thinking.min, thinking.max, thinking.levels) == (1, 9, ("low", "high"))


def test_a_negative_request_retry_means_the_top_levels() -> None:
    (one,) = credentials("claude-api-key: [{api-key: sk-test-a, request-retry: -1}]")
    assert one.request_retry is None


def test_the_demo_needs_no_key_and_can_be_switched_off() -> None:
    (demo,) = credentials_of(parse_config("").config)
    assert (demo.provider, demo.secret) == ("demo", "")
    assert not credentials_of(parse_config("demo: false").config)
