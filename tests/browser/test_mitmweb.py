"""mitmweb in a real browser shows an agent's turn: a streamed answer of another format, after an attempt that failed.

With `PICTURES=docs` in the environment the pictures of `docs/inspection.md` are taken anew.
"""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests import mitmweb, native
from tests.browser import agent
from tests.conftest import Start
from tests.mitmweb import ATTEMPTS, Mitmweb
from tests.processes import CLIENT_KEY, UPSTREAM_KEY, Gateway
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

FLOW_ROWS = ".flow-table tbody tr[class]"
PACE_S = 0.03
"""Between two pieces of an answer, so that its time line looks like one."""


@pytest.fixture
def browser() -> Iterator[Chrome]:
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("needs chromium and chromedriver")
    options = ChromeOptions()
    options.binary_location = binary
    # Containers run as root and have a small /dev/shm.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1500,900"):
        options.add_argument(argument)
    running = Chrome(options, Service(driver))
    yield running
    running.quit()


def config(upstream: Upstream) -> dict[str, Any]:
    """Two chat upstreams for one model, of which the first is asked first."""
    entry = {"models": [{"name": "gpt-5", "alias": agent.MODEL}], "base-url": f"{upstream.url}/v1"}
    return {
        "api-keys": [CLIENT_KEY],
        "demo": False,
        "disable-cooling": True,
        "openai-compatibility": [
            {"name": "first", "priority": 2, "api-key-entries": [{"api-key": f"{UPSTREAM_KEY}-1"}], **entry},
            {"name": "second", "priority": 1, "api-key-entries": [{"api-key": f"{UPSTREAM_KEY}-2"}], **entry},
        ],
    }


class Page:
    """The page, as someone sees and uses it."""

    def __init__(self, browser: Chrome, port: int) -> None:
        self._browser = browser
        browser.get(mitmweb.page(port))

    def rows(self, count: int) -> list[str]:
        self._wait(lambda shown: len(shown.find_elements(By.CSS_SELECTOR, FLOW_ROWS)) >= count)
        return [row.text for row in self._browser.find_elements(By.CSS_SELECTOR, FLOW_ROWS)]

    def show(self, number: int, tab: str, *expected: str, view: str = "") -> str:
        """Select a flow, one of the tabs beside the list and a view there; wait for texts, and give all of it."""
        self._browser.find_elements(By.CSS_SELECTOR, FLOW_ROWS)[number].click()
        self._wait(lambda shown: shown.find_elements(By.LINK_TEXT, tab))
        self._browser.find_element(By.LINK_TEXT, tab).click()
        if view:
            self._choose(view)
        self._wait(lambda _: all(text in self.detail for text in expected))
        return self.detail

    def _choose(self, view: str) -> None:
        button = "//*[contains(@class, 'contentview') or contains(@class, 'controls')]//a[contains(., 'View:')]"
        self._wait(lambda shown: shown.find_elements(By.XPATH, button))
        self._browser.find_element(By.XPATH, button).click()
        choice = f"//*[contains(@class, 'dropdown-menu')]//*[normalize-space() = '{view}']"
        self._wait(lambda shown: shown.find_elements(By.XPATH, choice))
        self._browser.find_elements(By.XPATH, choice)[-1].click()

    @property
    def detail(self) -> str:
        return self._browser.find_element(By.CSS_SELECTOR, ".flow-detail").text

    def picture(self, path: Path) -> None:
        assert self._browser.save_screenshot(str(path))
        assert path.stat().st_size > 20_000

    def _wait(self, until: Any) -> None:
        WebDriverWait(self._browser, 20).until(until)


async def turn(gateway: Gateway, upstream: Upstream, client: ClientSession) -> bytes:
    """One turn of the agent, whose first attempt is refused."""
    answer, gates = agent.answer()
    upstream.script(native.error("openai-chat", 529, "The server is overloaded. Try again later."), answer)
    loop = asyncio.get_running_loop()
    before = len(upstream.requests)
    headers = {"x-api-key": CLIENT_KEY, "anthropic-version": "2023-06-01", "user-agent": "agent/1.0"}
    posting = client.post(gateway.url + "/v1/messages?beta=true", json=agent.REQUEST, headers=headers)

    async def paced() -> None:
        await upstream.received(before + 2)
        for number, gate in enumerate(gates):
            loop.call_later(PACE_S * (number + 4), gate.set)

    async with asyncio.TaskGroup() as group:
        group.create_task(paced())
        async with posting as response:
            assert response.status == 200
            return await response.read()


async def test_an_agents_turn_is_understood_at_a_glance(
    start: Start, free_port: int, shared_upstream: Upstream, client: ClientSession, browser: Chrome, tmp_path: Path
) -> None:
    gateway = await start(config(shared_upstream), *mitmweb.options(free_port), program="mitmweb")
    pictures = Path(os.environ.get("PICTURES", tmp_path))
    body = await turn(gateway, shared_upstream, client)
    assert b"input_json_delta" in body
    # Each step waits for the page, while the gateway and its upstream go on.
    page = await asyncio.to_thread(Page, browser, free_port)
    asked, refused, served = await asyncio.to_thread(page.rows, 3)
    assert "http://cliproxy.internal/v1/messages" in asked
    assert "529" in refused
    assert f"{shared_upstream.url}/v1/chat/completions" in served

    await _looked_through(page, pictures)
    for secret in (CLIENT_KEY, UPSTREAM_KEY):
        assert secret not in browser.page_source


async def _looked_through(page: Page, pictures: Path) -> None:
    turns = ("result of Read (toolu_01Test): |", "return a - b", "tools, 2: [Read, Edit]")
    await asyncio.to_thread(page.show, 0, "Request", *turns)
    said = (
        "".join(agent.THOUGHT),
        "".join(agent.SPOKEN),
        "call Edit",
        'new_string: "    return a + b"',
        "finish: tool",
        "cost: $",
    )
    await asyncio.to_thread(page.show, 2, "Response", *said)
    page.picture(pictures / "conversation.png")
    # The client's answer is the same conversation in its own format.
    await asyncio.to_thread(page.show, 0, "Response", *said[:4], "(anthropic)")
    changes = ("anthropic → openai-chat", f"model: {agent.MODEL} → gpt-5", "authorization: Bearer sk-t…#", "dropped:")
    await asyncio.to_thread(page.show, 2, "Request", *changes)
    page.picture(pictures / "changes.png")
    await asyncio.to_thread(page.show, 1, "Response", "message: The server is overloaded. Try again later.")
    bits = (f"×{len(agent.THOUGHT)}", f"reasoning: {''.join(agent.THOUGHT)}", "the longest silence")
    await asyncio.to_thread(page.show, 2, "Response", *bits, view="time line")
    page.picture(pictures / "time-line.png")
    comment = f"{agent.MODEL} → second/gpt-5 → second sk-t…#"
    await asyncio.to_thread(page.show, 0, "Comment", comment)
    page.picture(pictures / "mitmweb.png")


async def test_a_translated_request_is_paused_changed_and_resumed(
    start: Start, free_port: int, shared_upstream: Upstream, client: ClientSession, browser: Chrome
) -> None:
    gateway = await start(config(shared_upstream), *mitmweb.options(free_port), program="mitmweb")
    async with Mitmweb.of(gateway, free_port) as web:
        await web.set(intercept=f"{ATTEMPTS} & ~q & ~meta 'provider: second'")
        asking = asyncio.create_task(turn(gateway, shared_upstream, client))
        flow = await web.paused_attempt()
        page = await asyncio.to_thread(Page, browser, free_port)
        await asyncio.to_thread(page.rows, 3)
        await asyncio.to_thread(page.show, 2, "Request", "anthropic → openai-chat")
        sent = (await web.body(flow, "request")).decode()
        assert "Mend it, please." in sent
        await web.edit(flow, request={"content": sent.replace("Mend it, please.", "Mend it, and test it.")})
        await asyncio.to_thread(page.show, 2, "Request", "Mend it, and test it.")
        await web.resume(flow)
        await asking
    assert "Mend it, and test it." in shared_upstream.requests[-1].body.decode()
