"""What a log is told of another configuration."""

import pytest

from cliproxy.config.difference import differences
from cliproxy.config.loading import parse_config


def lines(before: str, after: str) -> list[str]:
    return differences(parse_config(before).config, parse_config(after).config)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("", "# only a comment", []),
        ("request-retry: 3", "request-retry: 5", ["request-retry: 3 → 5"]),
        ("debug: false", "debug: true", ["debug: false → true"]),
        ("host: 127.0.0.1", 'host: ""', ['host: 127.0.0.1 → ""']),
        ("routing: {strategy: rr}", "routing: {strategy: ff}", ["routing.strategy: round-robin → fill-first"]),
        ("", "timeouts: {connect-seconds: 2.5}", ["timeouts.connect-seconds: 10 → 2.5"]),
        (
            "oauth-excluded-models: {claude: [a]}",
            "oauth-excluded-models: {claude: [a, b], codex: [c]}",
            ["oauth-excluded-models.claude: [a] → [a, b]", "oauth-excluded-models.codex: added"],
        ),
        ("oauth-excluded-models: {claude: [a]}", "", ["oauth-excluded-models.claude: removed"]),
    ],
)
def test_each_key_has_a_line(before: str, after: str, told: list[str]) -> None:
    assert lines(before, after) == told


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("api-keys: [sk-test-first]", "api-keys: [sk-test-other]", ["api-keys[0].key: changed"]),
        (
            "claude-api-key: [{api-key: sk-test-first}]",
            "claude-api-key: [{api-key: sk-test-other, priority: 2}]",
            ["claude-api-key[0].priority: 0 → 2", "claude-api-key[0].api-key: changed"],
        ),
        (
            "claude-api-key: [{api-key: sk-test-first, headers: {x-team: sk-test-first}}]",
            "claude-api-key: [{api-key: sk-test-first, headers: {x-team: sk-test-other}}]",
            ["claude-api-key[0].headers.x-team: changed"],
        ),
        ('proxy-url: ""', "proxy-url: http://me:sk-test-other@127.0.0.1:1", ["proxy-url: changed"]),
        ("remote-management: {secret-key: sk-test-first}", "", ["remote-management.secret-key: changed"]),
    ],
)
def test_of_secrets_only_that_they_changed(before: str, after: str, told: list[str]) -> None:
    assert sorted(lines(before, after)) == sorted(told)


def test_entries_that_come_and_go_are_counted() -> None:
    first, second, third = "{api-key: sk-test-1}", "{api-key: sk-test-2}", "{api-key: sk-test-3}"
    before = f"gemini-api-key: [{first}]"
    assert lines(before, f"gemini-api-key: [{second}, {first}, {third}]") == ["gemini-api-key: 2 added, 3 now"]
    assert lines(before, f"gemini-api-key: [{second}, {third}]") == ["gemini-api-key: 2 added, 1 removed, 2 now"]
    assert lines(before, "") == ["gemini-api-key: 1 removed, 0 now"]


def test_long_values_are_not_shown() -> None:
    assert lines("", f"auth-dir: /{'a' * 100}") == ["auth-dir: changed"]
