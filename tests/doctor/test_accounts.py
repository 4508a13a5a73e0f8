"""Accounts, keys, logins of vendors' tools, and models."""

from pathlib import Path

from cliproxy.cli.credentials_list import Row
from cliproxy.credentials.linked import TOOLS, FoundLogin
from cliproxy.doctor.accounts import accounts, models
from cliproxy.doctor.finding import Finding
from cliproxy.routing.catalogue import ListedModel
from cliproxy.wire.model import ModelFacts

READY = Row("claude-me.json", "claude", "me@example.com", "file", "ready")


def test_ready_ones_are_counted() -> None:
    key = Row("", "claude", "sk-t…#abcdef", "config", "ready")
    kimi = Row("kimi-1.json", "kimi", "", "file", "ready")
    assert list(accounts([READY, kimi, key], [])) == [Finding("credentials", "ok", "ready: 2 of claude, 1 of kimi")]


def test_with_none_there_is_only_demo() -> None:
    (finding,) = accounts([], [])
    assert (finding.level, finding.mend) == ("warning", "cliproxy login PROVIDER")


def test_what_is_wrong_comes_with_what_mends_it() -> None:
    refused = Row(
        "qwen-1.json", "qwen", "me@example.com", "file", "login needed", problem="refused: `cliproxy login qwen`"
    )
    broken = Row("x.json", "", "", "file", "broken", problem="it must be a JSON object")
    disabled = Row("kimi-1.json", "kimi", "", "file", "disabled")
    assert list(accounts([READY, refused, broken, disabled], []))[:-1] == [
        Finding(
            "credentials",
            "warning",
            "qwen-1.json (me@example.com) is login needed: refused: `cliproxy login qwen`",
            "cliproxy login qwen",
        ),
        Finding("credentials", "warning", "x.json is broken: it must be a JSON object"),
        Finding("credentials", "note", "kimi-1.json is disabled", "cliproxy credentials enable kimi-1.json"),
    ]


def test_logins_that_could_be_used_are_named() -> None:
    sentence = "Qwen Code is logged in: `cliproxy credentials link qwen` has the gateway use it too"
    found = FoundLogin(TOOLS["qwen"], Path("/home/me/.qwen/oauth_creds.json"), "usable", sentence)
    linked = FoundLogin(TOOLS["qwen"], found.path, "usable", "used already", is_linked=True)
    assert list(accounts([READY], [found, linked]))[1:] == [
        Finding("logins", "note", sentence, "cliproxy credentials link qwen")
    ]


def test_an_empty_list_of_models_is_an_error() -> None:
    assert models([]).level == "error"
    listed = [ListedModel(name, name, provider, ModelFacts(name)) for name, provider in (("a", "x"), ("b", "x"))]
    assert models(listed) == Finding("models", "ok", "2 models of x")
