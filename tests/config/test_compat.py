"""Files that were written for Token Proxy and CLIProxyAPI mean the same here."""

import pytest

from cliproxy.config import Config, ConfigFault, parse_config
from cliproxy.config.compat import IGNORED, Document
from cliproxy.config.schema import ClaudeKey, CodexKey, GeminiKey, OpenAICompatibility


def test_token_proxys_names_for_what_there_is() -> None:
    config, warnings = parse_config("""
local_api_key: mine
app_proxy_url: socks5://127.0.0.1:1080
log_level: trace
max_request_body_bytes: 1000
retryable_failure_cooldown_secs: 15
upstream_strategy: {order: fill_first, dispatch: {type: hedged, delay_ms: 500, max_parallel: 3}}
""")
    assert warnings == []
    assert type(config) is Config
    assert [client.key.get_secret_value() for client in config.api_keys] == ["mine"]
    assert config.proxy_url == "socks5://127.0.0.1:1080"
    assert config.debug is True
    assert config.max_request_body_bytes == 1000
    assert config.transient_error_cooldown_seconds == 15
    assert config.upstream_strategy.order == "fill-first"
    dispatch = config.upstream_strategy.dispatch
    assert (dispatch.type, dispatch.delay_ms, dispatch.max_parallel) == ("hedged", 500, 3)


def test_the_names_of_this_program_win() -> None:
    config = parse_config(
        "local_api_key: a\napi-keys: [{key: b}, a]\nproxy-url: direct\napp_proxy_url: http://p:1"
    ).config
    assert [client.key.get_secret_value() for client in config.api_keys] == ["b", "a"]
    assert config.proxy_url == "direct"


def test_a_cooldown_of_nothing_means_none_there_and_the_default_here() -> None:
    assert parse_config("retryable_failure_cooldown_secs: 0").config.transient_error_cooldown_seconds == -1
    assert parse_config("transient-error-cooldown-seconds: 0").config.transient_error_cooldown_seconds == 0


@pytest.mark.parametrize("level", ["silent", "error", "warn", "info"])
def test_only_the_chatty_log_levels_are_debug(level: str) -> None:
    assert parse_config(f"log_level: {level}").config.debug is False


UPSTREAMS = """
upstreams:
- id: many
  providers: [openai, openai-response, anthropic, gemini]
  base_url: https://api.example.com/v1
  api_key: sk-test-1
  proxy_url: $app_proxy_url
  priority: 7
  model_mappings: {"gpt-*": real, fast: small}
  convert_from_map: {openai: [anthropic_messages, gemini], anthropic: [openai_chat, openai_responses]}
  overrides: {header: {X-Team: a, User-Agent: null}}
- {id: off, providers: [codex], base_url: "http://127.0.0.1:1/backend-api/codex", enabled: false}
- {id: accounts, providers: [kiro, openai]}
"""


def test_an_upstream_becomes_an_entry_for_each_of_its_providers() -> None:
    config, warnings = parse_config(UPSTREAMS)
    assert warnings == [
        "config.yaml:13:3: upstreams[2]: kiro is left out: its accounts come from auth-dir",
        "config.yaml:13:3: upstreams[2]: openai is left out: it has no base-url",
    ]
    chat, responses = config.openai_compatibility
    claude, gemini, codex = config.claude_api_key[0], config.gemini_api_key[0], config.codex_api_key[0]
    assert [type(entry) for entry in (chat, claude, gemini, codex)] == [
        OpenAICompatibility,
        ClaudeKey,
        GeminiKey,
        CodexKey,
    ]
    assert [entry.base_url for entry in (chat, responses, claude, gemini, codex)] == [
        "https://api.example.com/v1",
        "https://api.example.com/v1",
        "https://api.example.com",
        "https://api.example.com",
        "http://127.0.0.1:1/backend-api/codex",
    ]
    assert (chat.name, chat.wire, responses.wire) == ("many", "openai-chat", "openai-responses")
    assert chat.api_key_entries[0].api_key.get_secret_value() == claude.api_key.get_secret_value() == "sk-test-1"
    assert (chat.priority, chat.disabled, codex.disabled) == (7, False, True)
    assert chat.headers == {"X-Team": "a", "User-Agent": None}
    assert (chat.proxy_url, codex.proxy_url) == ("", "direct")
    assert [(model.alias, model.name, model.force_mapping) for model in claude.models] == [
        ("gpt-*", "real", True),
        ("fast", "small", True),
    ]
    assert chat.convert_from == ("anthropic", "gemini")
    assert responses.convert_from == ()
    assert claude.convert_from == ("openai-chat", "openai-responses")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "upstreams: [{id: a, providers: []}]",
            "1:32: upstreams[0].providers: expected at least one item, found a list",
        ),
        ("upstreams: [{providers: [openai]}]", "1:13: upstreams[0].id: this key is required"),
        (
            "upstreams: [{id: a, providers: [openai], proxy_url: $other}]",
            "1:53: upstreams[0].proxy-url: expected an http, https, socks5 or socks5h URL with a host,"
            " or the word direct, found text",
        ),
        (
            "local_api_key: your-api-key-1",
            "1:16: local-api-key: this key is the template's and known to everyone; choose one of your own",
        ),
    ],
)
def test_faults_in_token_proxys_keys_are_told_like_any_other(text: str, problem: str) -> None:
    with pytest.raises(ConfigFault) as fault:
        parse_config(text)
    assert fault.value.problems == (f"config.yaml:{problem}",)


def test_no_key_is_both_read_and_ignored() -> None:
    for section, ignored in IGNORED.items():
        for kind in (section, *section.__subclasses__()):
            assert not {field.alias for field in kind.model_fields.values()} & set(ignored), kind


@pytest.mark.parametrize(
    "text",
    [
        "home: {enable: true}",
        "antigravity: {sensitive-words: [a]}",
        "codex-header-defaults: {user-agent: a}",
        "claude_header_defaults: {os: a}",
        "codex: {live-media-relay: {enabled: true, ice-servers: [{urls: [a]}]}}",
        "claude-api-key: [{api-key: k, fingerprint-profile: a, experimental-cch-signing: true}]",
        "xai: {inject-x-search: true}",
        "tray_token_rate: {enabled: true}",
    ],
)
def test_an_ignored_section_is_not_looked_into(text: str) -> None:
    warnings = parse_config(text).warnings
    assert len(warnings) == 1
    assert "accepted and ignored" in warnings[0]


def test_a_document_without_foreign_keys_is_its_own_canonical_form() -> None:
    document = Document.model_validate({"port": 1, "providers": {"codex": {"base-url": "http://127.0.0.1:1/"}}})
    config = document.canonical()
    assert (config.port, config.providers["codex"].base_url) == (1, "http://127.0.0.1:1")
    assert config == Config.model_validate({"port": 1, "providers": {"codex": {"base_url": "http://127.0.0.1:1"}}})
