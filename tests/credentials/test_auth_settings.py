"""What users set in auth files, in the spellings and forms that CLIProxyAPI takes."""

from typing import Any

import pytest

from cliproxy.config.schema import OAuthAlias
from cliproxy.credentials.auth_settings import AuthSettings


def test_what_is_not_set_has_its_default() -> None:
    settings = AuthSettings.of({"access_token": "test-access-1", "weight": None, "proxy_url": "", "prefix": ""})
    assert settings == AuthSettings()
    assert (settings.weight, settings.priority, settings.disabled) == (1, 0, False)
    assert settings.request_retry is None
    assert settings.disable_cooling is None


@pytest.mark.parametrize(
    ("name", "value", "meaning"),
    [
        ("disabled", True, True),
        ("disabled", "true", True),
        ("prefix", "/team/", "team"),
        ("proxy_url", "direct", "direct"),
        ("proxy_url", "socks5://user:word@127.0.0.1:1080", "socks5://user:word@127.0.0.1:1080"),
        ("priority", "5", 5),
        ("priority", 5.0, 5),
        ("priority", -1, -1),
        ("weight", 0, 0),
        ("note", " mine ", "mine"),
        ("headers", {"X-Team": "$Session", "User-Agent": None}, {"X-Team": "$Session", "User-Agent": None}),
        ("excluded_models", ["gpt-*", " ", "o1"], ("gpt-*", "o1")),
        ("request_retry", 3, 3),
        ("request_retry", "0", 0),
        ("request_retry", -1, None),
        ("disable_cooling", False, False),
        ("disable_cooling", "1", True),
        ("websockets", True, True),
        ("base_url", "https://example.com/v1/", "https://example.com/v1"),
        ("refresh_interval_seconds", 90, 90.0),
        ("refresh_interval_seconds", "90", 90.0),
        ("refresh_interval_seconds", "1h30m", 5400.0),
        ("refresh_interval_seconds", -1, 0.0),
    ],
)
def test_a_setting_is_read(name: str, value: Any, meaning: Any) -> None:
    assert getattr(AuthSettings.of({name: value}), name) == meaning


def test_aliases_are_those_of_the_config() -> None:
    written = [
        {"name": "gpt-5", "alias": "best", "fork": True, "display-name": "The best", "force_mapping": True, "id": 1}
    ]
    assert AuthSettings.of({"model_aliases": written}).model_aliases == (
        OAuthAlias(name="gpt-5", alias="best", fork=True, display_name="The best", force_mapping=True),
    )


def test_error_rules_are_those_of_the_config() -> None:
    written = [{"status": 429, "match": ["slow"], "match-regexr": ["wait \\d+"], "action": "continue-and-cooldown"}]
    (rule,) = AuthSettings.of({"request_scoped_errors": written}).request_scoped_errors
    assert (rule.status, rule.match, rule.action) == (429, ("slow",), "continue-and-cooldown")
    assert rule.match_regexr[0].search("wait 5")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("disabled", "test-secret-1", "disabled: expected true or false"),
        ("priority", "test-secret-1", "priority: expected a whole number"),
        ("priority", 1.5, "priority: expected a whole number"),
        ("weight", 1_000_001, "weight: expected 1000000 or less"),
        ("prefix", "test/secret", "prefix: expected a single path segment, without / and spaces"),
        ("proxy_url", "test-secret-1", "proxy_url: expected an http, https, socks5 or socks5h URL"),
        ("headers", {"X Y": "test-secret-1"}, "headers.X Y: expected the name of a header"),
        ("headers", {"X-Y": "test-secret-1\n!"}, "headers.X-Y: expected a header's value on one line"),
        ("excluded_models", "test-secret-1", "excluded_models: expected a list"),
        (
            "model_aliases",
            [{"name": "test-secret-1", "alias": ""}],
            "model_aliases[0].alias: expected text that is not",
        ),
        ("request_scoped_errors", [{"status": 5}], "request_scoped_errors[0].status: expected 100 or more"),
        (
            "request_scoped_errors",
            [{"status": 500, "action": "test-secret-1"}],
            "request_scoped_errors[0].action: expected",
        ),
        ("refresh_interval_seconds", "test-secret-1", "refresh_interval_seconds: expected a duration"),
        ("base_url", "https://test:secret@example.com", "base_url: expected a URL without user name and password"),
        ("email", 5, "email: expected text"),
    ],
)
def test_what_is_wrong_is_told_without_its_value(name: str, value: Any, told: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        AuthSettings.of({name: value})
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_every_fault_is_told() -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        AuthSettings.of({"weight": "x", "websockets": "x"})
    assert str(caught.value) == "weight: expected a whole number; websockets: expected true or false"


def test_no_secret_is_printed() -> None:
    settings = AuthSettings.of(
        {"headers": {"Authorization": "Bearer test-secret-1"}, "proxy_url": "http://u:test-secret-1@h"}
    )
    assert "secret" not in repr(settings)
