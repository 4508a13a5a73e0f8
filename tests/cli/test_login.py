"""`cliproxy login` as its own process: in a pipe, in a terminal, and with a browser."""

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from cliproxy.cli.login import login
from cliproxy.oauth.token_endpoint import http_client
from tests.cli.terminal import Terminal
from tests.oauth.authorization_server import AuthorizationServer
from tests.processes import ROOT, Program

AUTHORIZE = r"http://127\.0\.0\.1:\d+/oauth/authorize\S+"
NOWHERE = "http://127.0.0.1:1"
SECRETS = ("test-access-", "test-refresh-", "test-signature", "code_verifier", "test-key-word")


def configured(folder: Path, url: str, port: int = 0) -> Path:
    """A configuration in a folder, with all logins at one server."""
    client = {"client-id": "test-client", "token-url": f"{url}/oauth/token"}
    browser = {"authorize-url": f"{url}/oauth/authorize", "redirect-port": port}
    providers = {
        "codex": {**client, **browser, "device-url": f"{url}/api/accounts/deviceauth/usercode"},
        "qwen": {**client, "device-url": f"{url}/oauth/device/code"},
        "claude": {"userinfo-url": f"{url}/oauth/userinfo"},
    }
    config = {
        "auth-dir": str(folder / "auth"),
        "proxy-url": "direct",
        "providers": {name: {"oauth": oauth} for name, oauth in providers.items()},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    return path


@dataclass
class Home:
    """A user's machine: configuration, auth directory, environment."""

    folder: Path
    server: AuthorizationServer
    port: int

    def command(self, *arguments: str) -> list[str]:
        config = configured(self.folder, self.server.url, self.port)
        return [sys.executable, "-m", "cliproxy.cli", "login", *arguments, "--config", str(config)]

    @property
    def auth_dir(self) -> Path:
        return self.folder / "auth"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),
            "PATH": os.environ["PATH"],
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
        }

    def logins(self) -> dict[str, dict[str, Any]]:
        """Auth files, by name; only their owner may read them."""
        found = {}
        for path in sorted(self.auth_dir.glob("[!.]*")):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            found[path.name] = json.loads(path.read_bytes())
        return found

    def is_clean(self) -> bool:
        """Whether nothing is kept and nothing listens."""
        with socket.create_server(("127.0.0.1", self.port)):
            return not self.logins()


@pytest.fixture
async def home(tmp_path: Path, free_port: int) -> AsyncIterator[Home]:
    async with AuthorizationServer() as server:
        server.settings.interval_s = 1
        yield Home(tmp_path, server, free_port)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with http_client("direct") as client:
        yield client


@asynccontextmanager
async def started(home: Home, *arguments: str) -> AsyncIterator[Program]:
    """A running login with pipes in place of a terminal; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        *home.command(*arguments),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=home.environment,
    )
    program = Program(process)
    try:
        yield program
    finally:
        if process.returncode is None:
            process.kill()
        await program.ended()
        assert process.stdin
        process.stdin.close()
        print(program.text)
    for word in (*SECRETS, "Traceback", "Unclosed"):
        assert word not in program.text


def _terminal(home: Home, *arguments: str, **environment: str) -> Terminal:
    if not shutil.which("tmux"):
        pytest.skip("needs tmux")
    return Terminal(home.folder, home.command(*arguments), ROOT, {**home.environment, **environment})


# ---------------------------------------------------------------- without a terminal


async def test_a_browser_comes_back_by_itself(home: Home, http: httpx.AsyncClient) -> None:
    async with started(home, "codex", "--no-browser") as program:
        url = (await program.wait_for(AUTHORIZE))[0]
        page = await http.get(url, follow_redirects=True)
        assert page.url.port == home.port
        assert await program.ended() == 0
    assert f"Logged in to Codex: {home.auth_dir}/codex-user@example.com.json" in program.text
    (name, file), *others = home.logins().items()
    assert (name, others) == ("codex-user@example.com.json", [])
    assert (file["type"], file["email"]) == ("codex", "user@example.com")
    assert home.server.issuer.accepts(file["access_token"])
    assert file["refresh_token"].startswith("test-refresh-")


async def test_another_port(home: Home, http: httpx.AsyncClient) -> None:
    port, home.port = home.port, 1455
    async with started(home, "codex", "--port", str(port)) as program:
        url = (await program.wait_for(AUTHORIZE))[0]
        assert (await http.get(url, follow_redirects=True)).url.port == port
        assert await program.ended() == 0


async def test_an_address_comes_through_a_pipe(home: Home, http: httpx.AsyncClient) -> None:
    async with started(home, "codex", "--paste") as program:
        url = (await program.wait_for(AUTHORIZE))[0]
        answer = (await http.get(url)).headers["location"]
        assert program.process.stdin
        program.process.stdin.write(b"https://example.com/?state=other&code=test-code-1\n")
        await program.wait_for("That does not fit: this answer belongs to another login")
        program.process.stdin.write(f"{answer}\n".encode())
        assert await program.ended() == 0
    assert list(home.logins()) == ["codex-user@example.com.json"]


@pytest.mark.parametrize("provider", ["codex", "qwen"])
async def test_a_code_for_another_device(home: Home, provider: str) -> None:
    async with started(home, provider, "--device") as program:
        code = (await program.wait_for(r"\b[A-Z]{4}-[A-Z]{4,5}\b"))[0]
        assert home.server.issuer.decide(code)
        assert await program.ended() == 0
    ((name, file),) = home.logins().items()
    assert name.startswith(f"{provider}-")
    assert home.server.issuer.accepts(file["access_token"])


async def test_a_denied_login_keeps_nothing(home: Home, http: httpx.AsyncClient) -> None:
    home.server.settings.consent = "deny"
    async with started(home, "codex") as program:
        page = await http.get((await program.wait_for(AUTHORIZE))[0], follow_redirects=True)
        assert (page.status_code, "Access was denied" in page.text) == (400, True)
        assert await program.ended() == 1
    assert "The login failed: access was denied: The resource owner" in program.text
    assert home.is_clean()


async def test_an_interrupted_login_keeps_nothing(home: Home) -> None:
    async with started(home, "codex") as program:
        await program.wait_for(AUTHORIZE)
        program.process.send_signal(signal.SIGINT)
        assert await program.ended() == 130
    assert "Cancelled; nothing was kept." in program.text
    assert home.is_clean()


async def test_a_long_lived_token_from_a_file(home: Home) -> None:
    token = home.server.issuer.issue()["access_token"]
    path = home.folder / "token"
    path.write_text(f"{token}\n", "utf-8")
    async with started(home, "claude", "--file", str(path)) as program:
        assert await program.ended() == 0
    ((_, file),) = home.logins().items()
    assert (file["type"], file["access_token"]) == ("claude", token)


async def test_a_service_account_is_tried_before_it_is_kept(home: Home) -> None:
    path = home.folder / "key.json"
    account = home.server.issuer.service_account
    path.write_text(json.dumps({**account, "client_email": "other@example.com"}), "utf-8")
    async with started(home, "vertex", "--file", str(path)) as program:
        assert await program.ended() == 1
    assert "invalid_grant" in program.text
    assert home.logins() == {}
    path.write_text(json.dumps(account), "utf-8")
    async with started(home, "vertex", "--file", str(path)) as program:
        assert await program.ended() == 0
    ((_, file),) = home.logins().items()
    assert (file["type"], file["project_id"], file["service_account"]) == ("vertex", "test-project", account)


# ---------------------------------------------------------------- without a server


def test_an_api_key_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO(" test-key-word\n"))
    login("glm", config=configured(tmp_path, NOWHERE))
    (path,) = (tmp_path / "auth").glob("[!.]*")
    assert json.loads(path.read_bytes())["api_key"] == "test-key-word"


@pytest.mark.parametrize(
    ("provider", "options", "stdin", "words"),
    [
        ("nobody", {}, "", "there is no provider 'nobody', but"),
        ("claude", {"no_browser": True}, "", "no OAuth client is shipped for Claude"),
        ("claude", {"port": 1}, "", "`cliproxy login claude --via token`"),
        ("claude", {"via": "browser"}, "", "`cliproxy credentials link claude`"),
        ("claude", {"paste": True}, "", "providers.claude.oauth.client-id"),
        ("glm", {"device": True}, "", "GLM has no such login: log in with `cliproxy login glm --via api-key`"),
        ("codex", {"device": True}, "", "the call to 127.0.0.1:1 failed"),
        ("glm", {}, "", "nothing was entered"),
        ("glm", {}, None, "nothing was entered"),
        ("glm", {}, "two words", "this is no API key"),
        ("glm", {}, "t\x1bst", "this is no API key"),
        ("claude", {"via": "token"}, "é", "this is no token"),
        ("glm", {"file": Path("/nowhere/key")}, "", "/nowhere/key cannot be read: No such file"),
        ("vertex", {"file": Path("-")}, '{"client_email": 1}', "it lacks client_email or project_id"),
        ("vertex", {}, "[]", "this is no service account"),
    ],
)
def test_what_cannot_be_says_what_can(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    provider: str,
    options: dict[str, Any],
    stdin: str | None,
    words: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", None if stdin is None else StringIO(stdin))
    with pytest.raises(SystemExit) as ended:
        login(provider, config=configured(tmp_path, NOWHERE), **options)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.startswith("The login failed: ")
    assert said.endswith(".\n")
    assert not (tmp_path / "auth").exists()


def test_a_file_that_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SystemExit):
        login("glm", file=path, config=configured(tmp_path, NOWHERE))
    assert f"{path} is no text" in capsys.readouterr().err


def test_a_service_account_is_too_long_for_a_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin = StringIO()
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(SystemExit):
        login("vertex", config=configured(tmp_path, NOWHERE))
    assert "with --file" in capsys.readouterr().err


# ---------------------------------------------------------------- in a terminal


async def test_a_device_login_in_a_terminal(home: Home) -> None:
    async with _terminal(home, "codex", "--device") as terminal:
        await terminal.shows(r"█[▀▄█ ]+█")
        await terminal.shows(r"1[45]:\d\d left")
        code = (await terminal.shows(r"[A-Z]{4}-[A-Z]{5}"))[0]
        home.server.issuer.decide(code)
        await terminal.shows("ended: 0")
        assert "Logged in to Codex" in await terminal.screen()
    assert list(home.logins()) == ["codex-user@example.com.json"]


async def test_pasting_in_a_terminal(home: Home, http: httpx.AsyncClient) -> None:
    async with _terminal(home, "codex", "--paste") as terminal:
        url = (await terminal.shows(AUTHORIZE))[0]
        answer = (await http.get(url)).headers["location"]
        await terminal.shows("Ctrl-C cancels")
        await terminal.type("https://example.com/?state=other&code=test-code-1")
        await terminal.shows("49 characters pasted")
        await terminal.press("Enter")
        await terminal.shows("belongs to another login")
        await terminal.type(answer)
        await terminal.shows(f"{len(answer)} characters pasted")
        await terminal.press("Enter")
        await terminal.shows("ended: 0")
        screen = await terminal.screen()
        await terminal.shows(r" echo\b")  # and not `-echo`
        assert "Logged in to Codex" in screen
        assert answer not in screen
    assert list(home.logins()) == ["codex-user@example.com.json"]


@pytest.mark.parametrize("arguments", [("codex",), ("codex", "--paste"), ("codex", "--device")])
async def test_ctrl_c_in_a_terminal_leaves_nothing_behind(home: Home, arguments: tuple[str, ...]) -> None:
    async with _terminal(home, *arguments) as terminal:
        await terminal.shows("Ctrl-C cancels")
        await terminal.press("C-c")
        await terminal.shows("Cancelled; nothing was kept.")
        await terminal.shows("ended: 130")
        await terminal.shows(r" echo\b")
        assert "Traceback" not in await terminal.screen()
    assert home.is_clean()


async def test_a_key_that_is_typed_is_not_shown(home: Home) -> None:
    async with _terminal(home, "glm") as terminal:
        await terminal.shows(r"API key for GLM \(not shown\)")
        await terminal.type("test-key-word")
        await terminal.press("Enter")
        await terminal.shows("ended: 0")
        assert "test-key-word" not in await terminal.screen()
    ((_, file),) = home.logins().items()
    assert file["api_key"] == "test-key-word"


async def test_ctrl_c_while_a_key_is_asked_for(home: Home) -> None:
    async with _terminal(home, "glm") as terminal:
        await terminal.shows("not shown")
        await terminal.press("C-c")
        await terminal.shows("ended: 130")
        await terminal.shows(r" echo\b")
    assert home.is_clean()


# ---------------------------------------------------------------- with a browser


@pytest.fixture
def browser() -> Iterator[Chrome]:
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("needs chromium and chromedriver")
    options = ChromeOptions()
    options.binary_location = binary
    # Containers run as root and have a small /dev/shm.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    running = Chrome(options, Service(driver))
    yield running
    running.quit()


@pytest.mark.parametrize(("button", "title", "status"), [("agree", "Almost done", 0), ("deny", "Not logged in", 1)])
async def test_a_real_browser(home: Home, browser: Chrome, button: str, title: str, status: int) -> None:
    home.server.settings.consent = "ask"
    async with started(home, "codex") as program:
        url = (await program.wait_for(AUTHORIZE))[0]
        shown, style = await asyncio.to_thread(_press, browser, url, button, title)
        assert await program.ended() == status
    assert shown == title
    assert style == "grid"  # the policy of the page allows its own style
    assert bool(home.logins()) == (status == 0)


def _press(browser: Chrome, url: str, button: str, title: str) -> tuple[str, str]:
    browser.get(url)
    browser.find_element(By.NAME, button).click()
    WebDriverWait(browser, 20).until(lambda shown: shown.title == title)
    heading = browser.find_element(By.TAG_NAME, "h1").text
    return heading, browser.find_element(By.TAG_NAME, "body").value_of_css_property("display")


async def test_the_users_browser_is_opened(home: Home, http: httpx.AsyncClient) -> None:
    opened = home.folder / "opened"
    os.mkfifo(opened)
    script = home.folder / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {opened}\n', "utf-8")
    script.chmod(0o755)
    async with _terminal(home, "codex", BROWSER=str(script)) as terminal:
        url = await asyncio.to_thread(opened.read_text, "utf-8")
        assert url.strip() == (await terminal.shows(AUTHORIZE))[0]
        await http.get(url.strip(), follow_redirects=True)
        await terminal.shows("ended: 0")
