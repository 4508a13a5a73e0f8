"""Tools: found on the PATH, looked at in their settings."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from cliproxy.config.loading import parse_config
from cliproxy.doctor.finding import Finding
from cliproxy.doctor.tools import proxies, tools
from cliproxy.setup import TOOLS
from cliproxy.setup.files import plan_setup
from cliproxy.setup.tool import Gateway

URL, KEY = "http://127.0.0.1:8317", "sk-test-client"
NOT_FOUND = "not found: Codex, Gemini CLI, Qwen Code, opencode, Amp"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With Claude Code on its PATH."""
    install(tmp_path, "claude", "echo '2.1.329 (Claude Code)'")
    return tmp_path


def install(home: Path, program: str, script: str) -> None:
    path = home / "bin" / program
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", "ascii")
    path.chmod(0o755)


def set_up(home: Path, tool: str = "claude", url: str = URL) -> None:
    chosen = TOOLS[tool]
    for file, settings in zip(chosen.files(home, {}), chosen.settings(Gateway(url, KEY)), strict=True):
        plan_setup(file.path, file.syntax, settings).carry_out()


async def looked(home: Path, *keys: str, env: Mapping[str, str] | None = None) -> Sequence[Finding]:
    path = os.pathsep.join((str(home / "bin"), "/bin", "/usr/bin"))
    config = parse_config(yaml.safe_dump({"api-keys": list(keys)})).config
    return await tools(config, home, {"PATH": path, **(env or {})})


async def test_a_tool_that_is_not_set_up_is_a_note(home: Path) -> None:
    assert await looked(home) == [
        Finding("tools", "note", "Claude Code 2.1.329 goes to its vendor", "cliproxy setup claude"),
        Finding("tools", "note", NOT_FOUND),
    ]


async def test_a_tool_that_is_set_up_is_well(home: Path) -> None:
    set_up(home)
    for keys in ((), (KEY,)):
        assert (await looked(home, *keys))[0] == Finding("tools", "ok", "Claude Code 2.1.329 goes to the gateway")


async def test_a_key_that_the_gateway_does_not_take_is_an_error(home: Path) -> None:
    set_up(home)
    (finding, _) = await looked(home, "sk-test-another")
    assert (finding.level, finding.mend) == ("error", "cliproxy setup claude")
    assert KEY not in finding.text


async def test_a_set_up_for_another_place_is_a_warning(home: Path) -> None:
    set_up(home, url="http://127.0.0.1:9000")
    (finding, _) = await looked(home)
    assert (finding.level, finding.mend) == ("warning", "cliproxy setup claude")
    assert "goes to http://127.0.0.1:9000, and the gateway is at http://127.0.0.1:8317" in finding.text


async def test_another_gateway_of_the_users_is_a_note_and_its_login_is_not_shown(home: Path) -> None:
    settings = home / ".claude/settings.json"
    settings.parent.mkdir()
    url = "https://me:test-password@corp.example/api?key=test-key"
    settings.write_text(f'{{"env": {{"ANTHROPIC_BASE_URL": "{url}"}}}}', "utf-8")
    (finding, _) = await looked(home)
    assert finding.level == "note"
    assert "goes to https://corp.example/api, and" in finding.text


async def test_a_broken_settings_file_is_an_error_with_its_line(home: Path) -> None:
    settings = home / ".claude/settings.json"
    settings.parent.mkdir()
    settings.write_text('{\n  "env": {},\n  "a"\n}', "utf-8")
    (finding, _) = await looked(home)
    assert finding.level == "error"
    assert f"{settings}:4: not valid JSON" in finding.text


async def test_what_the_config_lacks_for_a_tool_is_a_warning(home: Path) -> None:
    set_up(home, "amp")
    (warning,) = [finding for finding in await looked(home) if finding.level == "warning"]
    assert warning.text.startswith("Amp: ")
    assert "ampcode.upstream-url" in warning.text


async def test_settings_are_looked_at_without_the_program(home: Path) -> None:
    set_up(home, "codex")
    assert (await looked(home))[1] == Finding("tools", "ok", "Codex (not on PATH) goes to the gateway")


async def test_a_program_that_does_not_tell_its_version_is_there_all_the_same(home: Path) -> None:
    install(home, "claude", "exit 3")
    assert (await looked(home))[0].text == "Claude Code goes to its vendor"


async def test_a_program_that_does_not_end_is_ended(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(home, "claude", "echo $$ > $HOME/pid; exec sleep 1000")
    monkeypatch.setattr("cliproxy.doctor.tools._LIMIT_S", 0.3)
    assert (await looked(home, env={"HOME": str(home)}))[0].text == "Claude Code goes to its vendor"
    pid = int((home / "pid").read_text("ascii"))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("name", "value", "warned"),
    [
        ("GOOGLE_GEMINI_BASE_URL", "https://corp.example", True),
        ("GOOGLE_GEMINI_BASE_URL", URL, False),
        ("GEMINI_API_KEY", "test-own", True),
        ("GEMINI_API_KEY", KEY, False),
    ],
)
async def test_a_variable_that_goes_before_the_files_is_a_warning(
    home: Path, name: str, value: str, warned: bool
) -> None:
    set_up(home, "gemini")
    findings = await looked(home, KEY, env={name: value})
    warnings = [finding for finding in findings if finding.level == "warning"]
    assert [finding.mend for finding in warnings] == ([f"unset {name}"] if warned else [])
    assert value not in "".join(finding.text for finding in warnings)


# ---------------------------------------------------------------- proxies


@pytest.mark.parametrize(
    ("env", "warned"),
    [
        ({}, False),
        ({"HTTPS_PROXY": ""}, False),
        ({"HTTPS_PROXY": "http://proxy:3128"}, True),
        ({"http_proxy": "http://me:test-password@proxy:3128", "no_proxy": "corp.example"}, True),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "corp.example, 127.0.0.1"}, False),
        ({"ALL_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, False),
    ],
)
def test_a_proxy_that_the_gateway_is_not_exempt_from_is_a_warning(env: Mapping[str, str], warned: bool) -> None:
    findings = list(proxies(URL, env))
    assert [finding.mend for finding in findings] == (["export NO_PROXY=127.0.0.1,localhost"] if warned else [])
    assert "test-password" not in str(findings)


@pytest.mark.parametrize(
    ("no_proxy", "exempt"),
    [("example.com", True), (".example.com", True), ("*.example.com", True), ("ample.com", False)],
)
def test_a_domain_exempts_its_hosts(no_proxy: str, exempt: bool) -> None:
    env = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": no_proxy}
    assert not list(proxies("http://gateway.example.com:8317", env)) == exempt
