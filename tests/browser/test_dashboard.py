"""The dashboard in a real browser, on a real gateway with a mock upstream and an authorization server."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from selenium.webdriver.common.keys import Keys

from tests import native
from tests.browser.page import Look, Page, chromium
from tests.calls import Call, ask, call
from tests.conftest import Start
from tests.oauth.authorization_server import CLIENT_ID, AuthorizationServer
from tests.processes import PLACEHOLDER_MODE, Gateway, config_for, listening, mitmproxy
from tests.upstream import Upstream

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("dashboard")]

KEY = "test-management-key"
SECTIONS = ("live", "usage", "accounts", "keys", "models", "config", "logs")
DESKTOP, PHONE = Look("light", 1280, 900), Look("dark", 360, 740)


@dataclass
class Place:
    """Everything around the dashboard."""

    gateway: Gateway
    upstream: Upstream
    server: AuthorizationServer
    auth_dir: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(
    start: Start, shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("dashboard")
    async with AuthorizationServer() as server:
        server.settings.interval_s = 1
        oauth = {
            "client-id": CLIENT_ID,
            "device-url": f"{server.url}/oauth/device/code",
            "token-url": f"{server.url}/oauth/token",
        }
        models = [{"name": "upstream-model", "alias": "anthropic-model"}]
        second = {"api-key": "sk-test-second-key", "base-url": shared_upstream.url, "models": models}
        config = config_for(
            shared_upstream,
            {"claude-api-key": [second]},
            remote_management={"secret-key": KEY},
            auth_dir=str(folder / "auth"),
            usage={"path": str(folder / "usage.sqlite")},
            providers={"qwen": {"base-url": f"{shared_upstream.url}/v1", "oauth": oauth}},
        )
        auth_dir = folder / "auth"
        auth_dir.mkdir()
        yield Place(await start(config), shared_upstream, server, auth_dir)


@pytest.fixture(scope="module", params=[DESKTOP, PHONE], ids=str)
def page(request: pytest.FixtureRequest, place: Place) -> Iterator[Page]:
    """A browser for each look; it stays logged in once it is."""
    with chromium(request.param) as browser:
        if browser is None:
            pytest.skip("needs chromium and chromedriver")
        yield Page(browser, place.gateway.url)


def with_key(key: str) -> Call:
    return replace(call("openai-chat"), headers={"authorization": f"Bearer {key}"})


async def change(gateway: Gateway, setting: str, value: object) -> None:
    """Change the configuration behind the page's back."""
    url = f"{gateway.url}/v0/management/{setting}"
    async with ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session:
        async with session.put(url, json={"value": value}) as response:
            assert response.status == 200


async def config_of(page: Page) -> str:
    """The file in the editor, once it is there."""
    await page.becomes("return document.querySelector('[aria-label=\"config.yaml\"]').value")
    return await page.value("config.yaml")


async def test_only_the_key_opens_it_and_only_the_tab_keeps_it(page: Page) -> None:
    await page.open()
    await page.fill("Management key", f"wrong{Keys.ENTER}")
    await page.shows("This is not the management key.")
    await page.fill("Management key", f"{KEY}{Keys.ENTER}")
    await page.shows("Connected", "Requests as they happen")
    assert KEY in await page.run("return Object.values(sessionStorage)")
    kept = await page.run("return [document.cookie, ...Object.values(localStorage)].join()")
    assert KEY not in kept
    await page.click("Log out")
    await page.shows("Management key")
    assert not await page.run("return sessionStorage.length")


async def test_a_request_appears_while_it_is_under_way_and_tells_what_became_of_it(
    page: Page, place: Place, client: ClientSession
) -> None:
    await page.enter("live", KEY)
    gate = asyncio.Event()
    place.upstream.script(native.error("anthropic", 503, "overloaded"), replace(native.text("anthropic"), gate=gate))
    asking = asyncio.create_task(ask(client, place.gateway, call("anthropic")))
    await page.shows("anthropic-model", "running")
    gate.set()
    assert (await asking).status == 200
    await page.hides("running")
    await page.shows("→ claude/upstream-model", "200")
    await page.run("document.querySelector('button.expand').click()")
    await page.shows("Formats", "anthropic → anthropic", "503", "claude/upstream-model")


async def test_what_is_under_way_is_there_for_those_who_come_later_until_its_client_leaves(
    page: Page, place: Place, client: ClientSession
) -> None:
    before = len(place.upstream.requests)
    place.upstream.script(replace(native.text("anthropic"), gate=asyncio.Event()))
    asking = asyncio.create_task(ask(client, place.gateway, call("anthropic")))
    await place.upstream.received(1 + before)
    await page.enter("live", KEY)
    await page.shows("anthropic-model", "running")
    asking.cancel()
    await page.hides("running")
    await page.shows("499")


async def test_what_clients_send_is_shown_as_text(page: Page, place: Place, client: ClientSession) -> None:
    await page.enter("live", KEY)
    model = "<img src=x onerror=document.title='run'>"
    assert (await ask(client, place.gateway, call("openai-chat", model=model))).status >= 400
    await page.shows(model)
    assert not await page.run("return document.querySelector('img[src=x]')")
    assert "run" not in await page.run("return document.title")


async def test_usage_is_summed_and_drawn(page: Page, place: Place, client: ClientSession) -> None:
    assert (await ask(client, place.gateway, call("openai-chat"))).status == 200
    await page.enter("usage", KEY)
    await page.shows("Cost by model", "upstream-model")
    drawn = "const c = document.querySelector('canvas'); return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(Boolean)"
    assert await page.run(drawn)
    await page.fill("By", "Client key")
    await page.shows("Cost by client key")


async def test_an_account_is_added_with_a_code_and_disabled(page: Page, place: Place) -> None:
    await page.enter("accounts", KEY)
    await page.click("Add an account")
    await page.click("Qwen Code")
    await page.click("Begin")
    await page.shows("enter the code", "Waiting for you")
    code = await page.run("return document.querySelector('.code output').textContent")
    assert place.server.issuer.decide(code)
    await page.shows("The account is added and in use.")
    await page.click("Done")
    (name,) = [path.name for path in place.auth_dir.glob("qwen-*.json")]
    await page.shows("Logged in", name, "ready")

    await page.click("Disable")
    await page.shows("disabled")
    assert '"disabled": true' in (place.auth_dir / name).read_text("utf-8")
    await page.click("Enable")
    await page.hides("disabled")

    await page.click("Remove")
    await page.shows("Its file is deleted")
    await page.press(Keys.ESCAPE)
    assert (place.auth_dir / name).exists()
    await page.click("Remove")
    await page.click("Remove")
    await page.hides(name)
    assert not (place.auth_dir / name).exists()


async def test_a_login_that_is_refused_says_so_and_one_that_is_left_is_given_up(page: Page, place: Place) -> None:
    await page.enter("accounts", KEY)
    await page.click("Add an account")
    await page.click("Qwen Code")
    await page.click("Begin")
    await page.shows("enter the code")
    code = await page.run("return document.querySelector('.code output').textContent")
    place.server.issuer.decide(code, agrees=False)
    await page.shows("The login failed")
    await page.click("Begin")
    await page.shows("enter the code")
    await page.press(Keys.ESCAPE)
    await page.shows("Accounts")
    await page.becomes(
        "return fetch('v0/management/logins', {headers: {Authorization: 'Bearer ' + arguments[0]}})"
        ".then(answer => answer.json()).then(({logins}) => logins.every(login => login.status !== 'wait'))",
        KEY,
    )


async def test_auth_files_come_and_go(page: Page, place: Place, tmp_path: Path) -> None:
    file = tmp_path / "qwen-uploaded.json"
    file.write_text('{"type": "qwen", "access_token": "test-access-1", "expired": "2099-01-01T00:00:00Z"}', "utf-8")
    await page.enter("accounts", KEY)
    await page.choose_file(".over[multiple]", file)
    await page.shows("1 uploaded.", "qwen-uploaded.json")
    broken = tmp_path / "broken.json"
    broken.write_text("{", "utf-8")
    await page.choose_file(".over[multiple]", broken)
    await page.shows("broken.json")
    assert (place.auth_dir / "qwen-uploaded.json").exists()
    assert not (place.auth_dir / "broken.json").exists()
    (place.auth_dir / "qwen-uploaded.json").unlink()
    await page.hides("qwen-uploaded.json")


async def test_a_wrong_config_is_refused_with_its_line_and_a_right_one_keeps_comments(page: Page) -> None:
    await page.enter("config", KEY)
    before = await config_of(page)
    lines = before.rstrip("\n").split("\n")
    await page.set_text("config.yaml", "\n".join([*lines, "# what I did", "max-retry-interval: often"]))
    await page.click("Save")
    await page.shows("Not saved", f"Line {len(lines) + 2}", "max-retry-interval")
    marked = await page.run("return [...document.querySelectorAll('.numbers .bad')].map(line => line.textContent)")
    assert marked == [str(len(lines) + 2)]

    await page.set_text("config.yaml", "\n".join([*lines, "# what I did", "max-retry-interval: 20"]) + "\n")
    await page.click("Check")
    await page.shows("not saved yet")
    await page.click("Save")
    await page.shows("Saved, and in force.")
    await page.click("Debug")
    await page.open("config")
    after = await config_of(page)
    assert "# what I did\nmax-retry-interval: 20" in after
    assert re.search(r"^debug: true$", after, re.M)
    assert KEY not in after
    await page.set_text("config.yaml", before)
    await page.click("Save")
    await page.shows("Saved, and in force.")


async def test_a_file_that_was_changed_elsewhere_is_not_written_over(page: Page, place: Place) -> None:
    await change(place.gateway, "request-retry", 3)
    await page.enter("config", KEY)
    mine = await config_of(page) + "# mine\n"
    await page.set_text("config.yaml", mine)
    await change(place.gateway, "request-retry", 4)
    await page.click("Save")
    await page.shows("changed elsewhere")
    assert await page.value("config.yaml") == mine
    await page.click("Load the new file")
    await page.click("Load it")
    await page.hides("changed elsewhere")
    assert "request-retry: 4" in await page.value("config.yaml")


async def test_a_key_is_made_shown_once_and_taken_away(page: Page, place: Place, client: ClientSession) -> None:
    await page.enter("keys", KEY)
    await page.click("Add a key")
    await page.fill("Name", "laptop")
    await page.fill("Requests a minute", "60")
    made = await page.value("Key")
    await page.click("Save")
    await page.shows("Copy the new key now.", made, "laptop", "60 requests/min")
    assert (await ask(client, place.gateway, with_key(made))).status == 200
    await page.open("keys")
    await page.shows("laptop")
    assert made not in await page.run("return document.documentElement.outerHTML")

    await page.click("Edit", 1)
    await page.fill("Name", "tablet")
    await page.click("Save")
    await page.shows("tablet")
    assert (await ask(client, place.gateway, with_key(made))).status == 200
    await page.click("Remove", 1)
    await page.click("Remove")
    await page.hides("tablet")
    assert (await ask(client, place.gateway, with_key(made))).status == 401


async def test_models_are_found(page: Page) -> None:
    await page.enter("models", KEY)
    await page.shows("chat-model", "gemini-model")
    await page.fill("Search models", "gemini")
    await page.hides("anthropic-model")
    await page.shows("gemini-model")


async def test_the_log_is_followed(page: Page, place: Place) -> None:
    await page.enter("logs", KEY)
    await page.fill("Search the log", "qwen-logged.json")
    await page.shows("Logs of failed requests")
    file = place.auth_dir / "qwen-logged.json"
    file.write_text('{"type": "qwen", "access_token": "test-access-2", "expired": "2099-01-01T00:00:00Z"}', "utf-8")
    await page.shows("qwen-logged.json changed", "1 credentials now")
    file.unlink()
    await page.shows("0 credentials now")


async def test_every_section_fits_and_nothing_is_refused_or_fails(page: Page) -> None:
    await page.enter("live", KEY)
    await page.complaints()
    for section in SECTIONS:
        await page.run(f"location.hash = '{section}'")
        heading = await page.run("return document.querySelector('[aria-current]').textContent")
        assert heading.lower() == section
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await page.run(wide) <= 0, section
        nameless = "return [...document.querySelectorAll('button, a')].filter(b => b.checkVisibility() && !(b.ariaLabel || b.innerText).trim()).length"
        assert await page.run(nameless) == 0, section
    assert await page.complaints() == []


@pytest.mark.parametrize("page", [DESKTOP], indirect=True, ids=str)
async def test_it_finds_a_gateway_again_that_was_restarted(page: Page, tmp_path: Path) -> None:
    config = {
        "remote-management": {"secret-key": KEY},
        "usage": {"path": str(tmp_path / "usage.sqlite")},
        "auth-dir": str(tmp_path / "auth"),
    }
    async with mitmproxy(tmp_path, config=config) as gateway:
        restarted = Page(page.browser, (await listening(gateway)).url)
        await restarted.enter("live", KEY)
    await restarted.shows("Connecting")
    same_port = PLACEHOLDER_MODE.removesuffix(":0") + f":{gateway.port}"
    async with mitmproxy(tmp_path, config=config, mode=same_port):
        await restarted.shows("Connected", "Waiting for the first request")


async def test_it_is_used_by_keyboard(page: Page) -> None:
    await page.enter("live", KEY)
    await page.run("document.activeElement.blur()")
    seen = []
    while "Accounts" not in seen:
        await page.press(Keys.TAB)
        seen.append(await page.run("return document.activeElement.innerText.trim()"))
        assert len(seen) < 10, seen
    assert seen[0] == "Skip to the content"
    outline = await page.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    await page.press(Keys.ENTER)
    await page.shows("Add an account")
    await page.click("Add an account")
    await page.shows("Qwen Code")
    inside = "return document.querySelector('#login-dialog').contains(document.activeElement)"
    assert await page.run(inside)
    await page.press(Keys.ESCAPE)
    assert not await page.run("return document.querySelector('dialog[open]')")


async def test_the_colours_are_the_systems_or_the_users(page: Page) -> None:
    await page.enter("live", KEY)
    light = "return parseInt(getComputedStyle(document.body).backgroundColor.match(/\\d+/)) > 128"
    is_light = await page.run(light)
    assert is_light == await page.run("return matchMedia('(prefers-color-scheme: light)').matches")
    other = "dark" if is_light else "light"
    await page.run(
        f"const s = document.querySelector('.theme select'); s.value = '{other}'; s.dispatchEvent(new Event('change'))"
    )
    assert await page.run(light) != is_light
    await page.open()
    assert await page.run(light) != is_light
    await page.run("localStorage.clear()")
