"""Keys get the schema's spelling, scalars the type of their place; what has no effect is told."""

from datetime import UTC, datetime

import pytest

from cliproxy.config import parse_config


def test_kebab_case_and_snake_case_are_the_same() -> None:
    kebab = """
auth-dir: /tmp/accounts
request-retry: 2
quota-exceeded: {switch-project: true}
openai-compatibility:
- name: a
  base-url: http://127.0.0.1:1/v1
  api-key-entries: [{api-key: k, proxy-url: direct}]
  models: [{name: m, display-name: M, thinking: {zero-allowed: true}}]
payload:
  default-raw: [{models: [{name: m, from-protocol: openai-chat}], params: {a: "1"}}]
"""
    snake = kebab.replace("-", "_").replace("\n_ ", "\n- ")
    assert "api_key_entries" in snake
    assert parse_config(snake) == parse_config(kebab)


def test_the_users_own_keys_keep_their_spelling() -> None:
    config = parse_config("""
claude-api-key: [{api-key: k, headers: {X_Trace: a, x-other: b}}]
payload: {override: [{params: {service_tier: priority}}]}
oauth-excluded-models: {my_provider: [m]}
models: {my_model: {targets: [a]}}
""").config
    assert config.claude_api_key[0].headers == {"X_Trace": "a", "x-other": "b"}
    assert config.payload.override[0].params == {"service_tier": "priority"}
    assert list(config.oauth_excluded_models) == ["my_provider"]
    assert list(config.models) == ["my_model"]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("prot: 1", "1:1: prot: unknown key, ignored; did you mean port?"),
        ("api-key: [k]", "1:1: api-key: unknown key, ignored; did you mean api-keys?"),
        ("frobnicate: 1", "1:1: frobnicate: unknown key, ignored"),
        ("routing:\n  stratgy: rr", "2:3: routing.stratgy: unknown key, ignored; did you mean strategy?"),
        (
            "claude-api-key:\n- api-key: k\n  base_ulr: http://h",
            "3:3: claude-api-key[0].base-ulr: unknown key, ignored; did you mean base-url?",
        ),
    ],
)
def test_an_unknown_key_is_a_warning_with_the_nearest_known_one(text: str, warning: str) -> None:
    assert parse_config(text).warnings == [f"config.yaml:{warning}"]


def test_text_may_look_like_a_number() -> None:
    config = parse_config("""
api-keys: [0123, 1e3, {key: 42, name: 7, expires: 2027-01-31}]
remote-management: {secret-key: 007}
gemini-api-key: [{api-key: 1.50, headers: {X-Version: 2}, models: [{name: 4.10}]}]
""").config
    assert [client.key.get_secret_value() for client in config.api_keys] == ["0123", "1e3", "42"]
    assert config.api_keys[2].name == "7"
    assert config.api_keys[2].expires == datetime(2027, 1, 31, tzinfo=UTC)
    assert config.remote_management.secret_key.get_secret_value() == "007"
    assert config.gemini_api_key[0].api_key.get_secret_value() == "1.50"
    assert config.gemini_api_key[0].headers == {"X-Version": "2"}
    assert config.gemini_api_key[0].models[0].name == "4.10"


def test_words_of_yaml_1_1_are_booleans_only_where_one_is_expected() -> None:
    config = parse_config("debug: on\ndemo: No\nprefix: no\npayload: {override: [{params: {a: off, b: true}}]}").config
    assert (config.debug, config.demo) == (True, False)
    assert config.payload.override[0].params == {"a": "off", "b": True}


def test_plain_text_stands_for_the_entry_it_is_the_main_part_of() -> None:
    config = parse_config("""
api-keys: [k]
openai-compatibility:
- {name: a, base-url: http://h, api-key-entries: [l], models: [gpt-5]}
""").config
    assert config.api_keys[0].key.get_secret_value() == "k"
    assert config.openai_compatibility[0].api_key_entries[0].api_key.get_secret_value() == "l"
    assert config.openai_compatibility[0].models[0].name == "gpt-5"


def test_null_is_a_value_where_it_says_something_and_absence_elsewhere() -> None:
    config = parse_config("""
host: null
claude-api-key: [{api-key: k, base-url: null, headers: {X-App: null}}]
payload: {override: [{params: {stop: null}}]}
oauth-model-alias: {codex: null}
""").config
    assert config.host == "127.0.0.1"
    assert config.claude_api_key[0].base_url == ""
    assert config.claude_api_key[0].headers == {"X-App": None}
    assert config.payload.override[0].params == {"stop": None}
    assert config.oauth_model_alias == {}


def test_anchors_and_merge_keys_are_followed() -> None:
    config, warnings = parse_config("""
timeouts: &limits {connect-seconds: 1, idle-seconds: 2}
claude-api-key:
- &first {api_key: k, base-url: http://a, priority: 1}
- {<<: *first, base_url: http://b}
- {<<: [{priority: 3}, *first], prefix: p}
- {<<: *first, base_url: http://b}
""")
    assert warnings == []
    assert [(entry.base_url, entry.priority, entry.prefix) for entry in config.claude_api_key] == [
        ("http://a", 1, ""),
        ("http://b", 1, ""),
        ("http://a", 3, "p"),
        ("http://b", 1, ""),
    ]


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        ("codex-api-key: [{api-key: k}]", "1:17: codex-api-key[0] is left out: it has no base-url"),
        (
            "xai-api-key: [{api-key: k, base-url: ' '}]",
            "1:15: xai-api-key[0] is left out: it has no base-url",
        ),
        (
            "gemini-api-key: [{priority: 1}]",
            "1:18: gemini-api-key[0] is left out: it has neither api-key nor base-url",
        ),
        (
            "openai-compatibility: [{name: a}]",
            "1:24: openai-compatibility[0] is left out: it has no base-url",
        ),
        (
            "payload: {default-raw: [{params: {a.b: '{'}}]}",
            "1:25: payload.default-raw[0] is left out: its params have a value that is not JSON",
        ),
    ],
)
def test_an_entry_that_cannot_be_used_is_left_out_with_a_warning(text: str, left_out: str) -> None:
    config, warnings = parse_config(text)
    assert warnings == [f"config.yaml:{left_out}"]
    entries = [config.codex_api_key, config.xai_api_key, config.gemini_api_key, config.openai_compatibility]
    assert entries == [(), (), (), ()]
    assert config.payload.default_raw == ()


def test_the_other_entries_stay() -> None:
    config = parse_config("codex-api-key:\n- api-key: k\n- {api-key: l, base-url: http://h}").config
    assert [entry.api_key.get_secret_value() for entry in config.codex_api_key] == ["l"]
