"""`cliproxy setup`: what people and scripts get from it."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cliproxy.cli.__main__ import app
from tests.cli.terminal import Terminal
from tests.processes import ROOT

KEY, OTHER_KEY = "sk-test-client-1", "sk-test-client-2"
PROVIDER: Mapping[str, Any] = {
    "openai-compatibility": [
        {
            "name": "far",
            "base-url": "http://127.0.0.1:9/v1",
            "api-key-entries": [{"api-key": "sk-test-far"}],
            "models": [{"name": "far-model", "alias": "far-model"}],
        }
    ]
}


@dataclass
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    for variable in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "GEMINI_CLI_HOME", "QWEN_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)
    for variable in (
        "GEMINI_API_KEY",
        "GOOGLE_GEMINI_BASE_URL",
        "CLIPROXY_API_KEY",
        "XDG_DATA_HOME",
        "AMP_SETTINGS_FILE",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def run(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def _run(*arguments: str, config: Mapping[str, Any] | None = None) -> Ended:
        with pytest.raises(SystemExit) as ended:
            app(["setup", *arguments, "--config", str(written(tmp_path, config or {"api-keys": [KEY]}))])
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, printed.out, printed.err)

    return _run


def written(folder: Path, config: Mapping[str, Any]) -> Path:
    path = folder / "config.yaml"
    path.write_text(json.dumps({"auth-dir": str(folder / "auth"), **config}), "utf-8")
    return path


def claude(home: Path) -> Path:
    return home / ".claude/settings.json"


# ---------------------------------------------------------------- there and back


def test_a_tool_is_set_up_and_taken_back(home: Path, run: Run) -> None:
    claude(home).parent.mkdir()
    claude(home).write_text('{"env": {"FOO": "1"}}\n', "utf-8")
    done = run("claude", "--yes")
    assert done.code == 0
    assert "Claude Code goes to http://127.0.0.1:8317. Restart it." in done.out
    env = json.loads(claude(home).read_bytes())["env"]
    assert (env["FOO"], env["ANTHROPIC_BASE_URL"], env["ANTHROPIC_AUTH_TOKEN"]) == ("1", "http://127.0.0.1:8317", KEY)
    assert "goes to http://127.0.0.1:8317 already" in run("claude").out
    undone = run("claude", "--undo", "--yes")
    assert undone.code == 0
    assert claude(home).read_text("utf-8") == '{"env": {"FOO": "1"}}\n'
    assert "no settings of ours" in run("claude", "--undo").out


@pytest.mark.parametrize("tool", ["claude", "codex", "gemini", "qwen", "opencode", "amp"])
def test_a_dry_run_shows_and_writes_nothing(home: Path, run: Run, tool: str) -> None:
    shown = run(tool, "--dry-run")
    assert shown.code == 0
    assert "--- /dev/null" in shown.out
    assert "+++ " in shown.out
    assert "8317" in shown.out
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("tool", ["claude", "codex", "gemini", "qwen", "opencode", "amp"])
def test_no_secret_is_shown(home: Path, run: Run, tool: str) -> None:
    claude(home).parent.mkdir()
    claude(home).write_text('{"env": {"MY_API_KEY": "sk-test-mine"}, "apiKeyHelper": "pass"}', "utf-8")
    done = run(tool, "--yes")
    assert done.code == 0
    assert "sk-t…#" in done.out
    assert "sk-test" not in done.out
    again = run(tool, "--yes", "--key", "two", config={"api-keys": [KEY, {"name": "two", "key": OTHER_KEY}]})
    undone = run(tool, "--undo", "--yes")
    assert "sk-test" not in again.out + undone.out + again.err + undone.err


def test_without_a_terminal_one_must_agree_beforehand(home: Path, run: Run) -> None:
    refused = run("claude")
    assert (refused.code, refused.err) == (1, "nothing was written: without a terminal, --yes agrees to it\n")
    assert not claude(home).exists()


async def test_in_a_terminal_one_is_asked(home: Path, tmp_path: Path) -> None:
    config = written(tmp_path, {"api-keys": [KEY, {"name": "laptop", "key": OTHER_KEY}]})
    command = [sys.executable, "-m", "cliproxy.cli", "setup", "claude", "--config", str(config)]
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
    async with Terminal(tmp_path, command, ROOT, environment | {"LANG": "C.UTF-8"}) as terminal:
        await terminal.shows("2 +laptop")
        await terminal.type("2")
        await terminal.press("Enter")
        await terminal.shows("ANTHROPIC_BASE_URL")
        await terminal.shows(r"Write this\?")
        assert not claude(home).exists()
        await terminal.type("y")
        await terminal.press("Enter")
        await terminal.shows("ended: 0")
    assert json.loads(claude(home).read_bytes())["env"]["ANTHROPIC_AUTH_TOKEN"] == OTHER_KEY


async def test_in_a_terminal_one_may_say_no(home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cliproxy.cli", "setup", "claude", "--config", str(written(tmp_path, {}))]
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
    async with Terminal(tmp_path, command, ROOT, environment | {"LANG": "C.UTF-8"}) as terminal:
        await terminal.shows(r"Write this\?")
        await terminal.press("Enter")
        await terminal.shows("nothing was written\n+ended: 1")
    assert not claude(home).exists()


def test_a_broken_file_is_told_and_left_alone(home: Path, run: Run) -> None:
    claude(home).parent.mkdir()
    claude(home).write_text('{\n  "env": {},\n  // why\n}', "utf-8")
    refused = run("claude", "--yes")
    assert refused.code == 1
    assert f"{claude(home)}:3: not valid JSON" in refused.err
    assert claude(home).read_text("utf-8") == '{\n  "env": {},\n  // why\n}'


# ---------------------------------------------------------------- which gateway, key and model


def test_a_gateway_without_keys_gets_a_word_for_one(home: Path, run: Run) -> None:
    assert run("claude", "--yes", config={"port": 9000}).code == 0
    env = json.loads(claude(home).read_bytes())["env"]
    assert (env["ANTHROPIC_BASE_URL"], env["ANTHROPIC_AUTH_TOKEN"]) == ("http://127.0.0.1:9000", "cliproxy")


def test_another_place_may_be_given(home: Path, run: Run) -> None:
    config = {"port": 0}
    assert "--url" in run("claude", "--yes", config=config).err
    done = run("claude", "--yes", "--url", "https://gateway.example/", "--key", "sk-test-there", config=config)
    assert done.code == 0
    assert "`cliproxy certs` shows how" in done.out
    env = json.loads(claude(home).read_bytes())["env"]
    assert (env["ANTHROPIC_BASE_URL"], env["ANTHROPIC_AUTH_TOKEN"]) == ("https://gateway.example", "sk-test-there")


@pytest.mark.parametrize("key", ["laptop", OTHER_KEY])
def test_a_key_is_chosen_by_its_name_or_itself(home: Path, run: Run, key: str) -> None:
    config = {"api-keys": [KEY, {"name": "laptop", "key": OTHER_KEY}]}
    refused = run("claude", "--yes", config=config)
    assert refused.code == 1
    assert "choose with --key one of sk-t…#" in refused.err
    assert "laptop" in refused.err
    assert run("claude", "--yes", "--key", key, config=config).code == 0
    assert json.loads(claude(home).read_bytes())["env"]["ANTHROPIC_AUTH_TOKEN"] == OTHER_KEY


def test_a_key_that_is_none_or_has_expired_is_refused(home: Path, run: Run) -> None:
    assert "has this name or value" in run("claude", "--yes", "--key", "sk-test-unknown").err
    expired = {"name": "old", "key": OTHER_KEY, "expires": "2020-01-01"}
    assert "expired" in run("claude", "--yes", config={"api-keys": [expired]}).err
    assert run("claude", "--yes", config={"api-keys": [expired, KEY]}).code == 0
    assert json.loads(claude(home).read_bytes())["env"]["ANTHROPIC_AUTH_TOKEN"] == KEY


def test_a_model_must_be_offered(home: Path, run: Run) -> None:
    refused = run("codex", "--yes", "--model", "demo/ecko")
    assert refused.code == 1
    assert "--model: unknown model 'demo/ecko'; known are for example 'demo/echo'" in refused.err
    for model in ("demo/echo", "demo/echo(high)", "smart"):
        done = run("codex", "--yes", "--model", model, config={"models": {"smart": {"targets": ["demo/echo"]}}})
        assert done.code == 0, done.err
        assert f'model = "{model}"' in (home / ".codex/config.toml").read_text("utf-8")


def test_a_tool_that_needs_a_model_gets_the_first(home: Path, run: Run) -> None:
    assert "offers none" in run("qwen", "--yes", config={"demo": False}).err
    assert run("qwen", "--yes", config=PROVIDER).code == 0
    assert json.loads((home / ".qwen/settings.json").read_bytes())["model"]["name"] == "far-model"


@pytest.mark.parametrize("limit", [{"models": ["demo/*"]}, {"providers": ["demo"]}])
def test_only_models_that_the_key_may_use_are_listed(home: Path, run: Run, limit: Mapping[str, Any]) -> None:
    config = {**PROVIDER, "api-keys": [{"name": "limited", "key": KEY, **limit}]}
    assert run("opencode", "--yes", config=config).code == 0
    provider = json.loads((home / ".config/opencode/opencode.json").read_bytes())["provider"]["cliproxy"]
    assert list(provider["models"]) == ["demo/echo"]


# ---------------------------------------------------------------- what to know beside


def test_the_user_is_told_what_stands_in_the_way(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no model claude-…, as Claude Code asks for: choose one with --model" in run("claude", "--dry-run").out
    monkeypatch.setenv("GEMINI_API_KEY", "test-own")
    done = run("gemini", "--yes", "--model", "demo/echo")
    assert "GEMINI_API_KEY of the environment goes before its files: unset it." in done.out
    assert "trusts" in done.out
    assert "no model" not in done.out


def test_what_the_config_lacks_for_a_tool_is_told(run: Run) -> None:
    assert "ampcode.upstream-url does not say where" in run("amp", "--yes").out
    done = run("amp", "--undo", "--yes")
    assert "upstream-url" not in done.out
    config = {"api-keys": [KEY], "ampcode": {"upstream-url": "https://ampcode.com"}}
    assert "upstream-url" not in run("amp", "--yes", config=config).out


def test_a_chain_for_every_name_serves_any_tool(run: Run) -> None:
    done = run("claude", "--yes", config={"models": {"*": {"targets": ["demo/echo"]}}})
    assert "no model" not in done.out
