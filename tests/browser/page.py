"""The dashboard as its user sees it: names on buttons, labels of fields, text on the screen.

Every step waits for the page, in a thread, while the gateway and its upstream go on.
"""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
)
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

_PATIENCE_S = 20
_PASSING = (StaleElementReferenceException, ElementNotInteractableException, ElementClickInterceptedException)

# A dialog hides what lies behind it from the user.
_SCOPE = "(document.querySelector('dialog[open]') || document)"
_NAMED = f"""
    const name = element => (element.ariaLabel || element.innerText).trim();
    return [...{_SCOPE}.querySelectorAll('button, a, label')]
        .filter(element => element.checkVisibility() && name(element) === arguments[0])[arguments[1]];
"""
_FIELD = f"""
    const label = [...{_SCOPE}.querySelectorAll('label')]
        .find(label => label.checkVisibility() && label.innerText.trim().startsWith(arguments[0]));
    return label?.control || {_SCOPE}.querySelector(`[aria-label="${{arguments[0]}}"]`);
"""
_TEXT = f"return ({_SCOPE}.body || {_SCOPE}).innerText"


@dataclass(frozen=True)
class Look:
    """How a browser shows pages."""

    scheme: Literal["light", "dark"]
    width_px: int
    height_px: int

    def __str__(self) -> str:
        return f"{self.scheme}-{self.width_px}"


@contextmanager
def chromium(look: Look) -> Iterator[Chrome | None]:
    """A headless browser; None where none is installed."""
    binary, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not binary or not driver:
        yield None
        return
    options = ChromeOptions()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # Containers run as root and have a small /dev/shm.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    running = Chrome(options, Service(driver))
    try:
        metrics = {"width": look.width_px, "height": look.height_px, "deviceScaleFactor": 1, "mobile": False}
        running.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        feature = {"name": "prefers-color-scheme", "value": look.scheme}
        running.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        yield running
    finally:
        running.quit()


class Page:
    """The dashboard of one gateway in one browser."""

    def __init__(self, browser: Chrome, url: str) -> None:
        """url: of the gateway."""
        self.browser = browser
        self._url = url

    async def open(self, section: str = "live") -> None:
        """Load the page anew."""
        # An address that differs in its fragment only would not be loaded.
        await asyncio.to_thread(self.browser.get, "about:blank")
        await asyncio.to_thread(self.browser.get, f"{self._url}/management.html#{section}")

    async def enter(self, section: str, key: str) -> None:
        """Load the page anew, and log in where that is not done."""
        await self.open(section)
        if not await self.run("return sessionStorage.length"):
            await self.fill("Management key", key + Keys.ENTER)
        await self.shows("Connected")

    async def click(self, name: str, number: int = 0) -> None:
        """Press what is called so; number: of several."""

        def press() -> bool:
            found = self.script(_NAMED, name, number)
            if found is None or not found.is_enabled():
                return False
            found.click()
            return True

        await self._until(press, f"nothing to press is called {name!r}")

    async def fill(self, label: str, text: str) -> None:
        """Put a text into a field, in the place of what is there."""

        def put() -> bool:
            field = self.script(_FIELD, label)
            if field is None or not field.is_enabled():
                return False
            if field.tag_name != "select":
                field.clear()
            field.send_keys(text)
            return True

        await self._until(put, f"no field is called {label!r}")

    async def set_text(self, label: str, text: str) -> None:
        """Give a field a long text at once, as pasting does."""
        give = f"const field = (() => {{ {_FIELD} }})(); field.value = arguments[1]; field.dispatchEvent(new Event('input'))"
        await asyncio.to_thread(self.script, give, label, text)

    async def choose_file(self, selector: str, path: Path) -> None:
        await asyncio.to_thread(lambda: self.browser.find_element(By.CSS_SELECTOR, selector).send_keys(str(path)))

    async def value(self, label: str) -> str:
        return await asyncio.to_thread(lambda: self.script(_FIELD, label).get_property("value"))

    async def shows(self, *texts: str) -> None:
        """Wait until the screen holds these texts; an open dialog hides what is behind it."""
        await self._until(lambda: all(text in self.script(_TEXT) for text in texts), f"the page never shows {texts}")

    async def hides(self, text: str) -> None:
        """Wait until the screen does not hold a text."""
        await self._until(lambda: text not in self.script(_TEXT), f"the page goes on to show {text!r}")

    async def becomes(self, script: str, *arguments: Any) -> None:
        """Wait until a script returns, or promises, something true."""
        await self._until(lambda: self.script(script, *arguments), f"never became true: {script}")

    async def press(self, *keys: str) -> None:
        """Use the keyboard where the focus is."""
        for key in keys:
            await asyncio.to_thread(lambda key=key: self.browser.switch_to.active_element.send_keys(key))

    async def run(self, script: str) -> Any:
        """What a script returns."""
        return await asyncio.to_thread(self.script, script)

    def script(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    async def complaints(self) -> list[str]:
        """What the browser logged since this was last asked: errors of scripts, refusals of the policy."""
        entries = await asyncio.to_thread(self.browser.get_log, "browser")
        return [entry["message"] for entry in entries]

    async def _until(self, condition: Callable[[], Any], otherwise: str = "") -> None:
        def wait() -> None:
            WebDriverWait(self.browser, _PATIENCE_S, 0.05, _PASSING).until(lambda _: condition(), otherwise)

        await asyncio.to_thread(wait)
