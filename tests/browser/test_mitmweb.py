"""mitmweb in a real browser shows both sides of an exchange."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.calls import ask, call
from tests.conftest import Start
from tests.processes import CLIENT_KEY, UPSTREAM_KEY, config_for
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

WEB_PASSWORD = "test-word"
FLOW_ROWS = ".flow-table tbody tr[class]"


@pytest.fixture
def browser() -> Iterator[Chrome]:
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("needs chromium and chromedriver")
    options = ChromeOptions()
    options.binary_location = binary
    # Containers run as root and have a small /dev/shm.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1500,620"):
        options.add_argument(argument)
    running = Chrome(options, Service(driver))
    yield running
    running.quit()


async def test_both_flows_of_an_exchange_are_visible(
    start: Start, free_port: int, shared_upstream: Upstream, client: ClientSession, browser: Chrome, tmp_path: Path
) -> None:
    options = (f"web_port={free_port}", f"web_password={WEB_PASSWORD}", "web_open_browser=false")
    gateway = await start(
        config_for(shared_upstream), *(part for option in options for part in ("--set", option)), program="mitmweb"
    )
    assert (await ask(client, gateway, call("anthropic", stream=True))).status == 200
    url = f"http://127.0.0.1:{free_port}/?token={WEB_PASSWORD}"
    # Each step waits for the page, while the gateway and its upstream go on.
    client_row, attempt_row = await asyncio.to_thread(_flow_rows, browser, url)
    assert "http://cliproxy.internal/v1/messages" in client_row
    assert f"{shared_upstream.url}/v1/messages" in attempt_row

    served = "anthropic-model → claude/upstream-model → claude sk-t…#"
    for number in (0, 1):
        await asyncio.to_thread(_show, browser, number, "Response", "message_start")
        await asyncio.to_thread(_show, browser, number, "Comment", served)
    screenshot = tmp_path / "mitmweb.png"
    assert browser.save_screenshot(str(screenshot))
    assert screenshot.stat().st_size > 20_000
    for secret in (CLIENT_KEY, UPSTREAM_KEY):
        assert secret not in browser.page_source


def _flow_rows(browser: Chrome, url: str) -> list[str]:
    browser.get(url)
    WebDriverWait(browser, 20).until(lambda shown: len(shown.find_elements(By.CSS_SELECTOR, FLOW_ROWS)) >= 2)
    return [row.text for row in browser.find_elements(By.CSS_SELECTOR, FLOW_ROWS)]


def _show(browser: Chrome, number: int, tab: str, expected: str) -> None:
    """Select a flow and one of the tabs beside the list, which must then hold a text."""
    browser.find_elements(By.CSS_SELECTOR, FLOW_ROWS)[number].click()
    WebDriverWait(browser, 20).until(lambda shown: shown.find_elements(By.LINK_TEXT, tab))
    browser.find_element(By.LINK_TEXT, tab).click()
    WebDriverWait(browser, 20).until(lambda shown: expected in shown.find_element(By.CSS_SELECTOR, ".flow-detail").text)
