"""A login in the terminal: what to do, how much time is left, and a place to paste the answer."""

import os
import sys
import threading
import time
import webbrowser

from rich.align import Align
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cliproxy.cli.large_text import enlarged
from cliproxy.cli.typed import Typed, is_ours
from cliproxy.oauth.errors import LoginFailed
from cliproxy.oauth.flow import Prompt
from cliproxy.oauth.login import LoginSession, Save
from cliproxy.tasks import Tasks

_PANEL_COLUMNS = 12
"""What a panel and its padding take of a line."""


async def shown[T](session: LoginSession, title: str, save: Save[T], console: Console, *, opens_browser: bool) -> T:
    """Lead the user through a login, and complete it. title: of the vendor. Raises as `LoginSession.complete`."""
    prompt = session.prompt
    _instruct(session, title, console)
    if opens_browser and has_browser():
        # Some browsers keep the caller waiting until they are closed.
        threading.Thread(target=webbrowser.open, args=(prompt.url,), daemon=True).start()
    # Without a standard input its descriptor may be anything.
    takes_pasted = session.kind == "browser" and bool(sys.stdin) and is_ours(sys.stdin.fileno())
    typed, tasks = Typed(sys.stdin.fileno()) if takes_pasted else None, Tasks()
    waiting = _Waiting(prompt, typed)
    try:
        if typed:
            tasks.start(_take_pasted(session, typed, console), "read what is pasted")
        if not console.is_terminal:
            return await session.complete(save)
        with Live(waiting, console=console, refresh_per_second=4, transient=True):
            return await session.complete(save)
    finally:
        await tasks.cancel()


def has_browser() -> bool:
    """Whether opening an address shows it to the user: a browser in a terminal would fight with us for it."""
    is_graphical = sys.platform in {"darwin", "win32"} or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    if not is_graphical:
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def _instruct(session: LoginSession, title: str, console: Console) -> None:
    prompt = session.prompt
    console.print(Text(f"Log in to {title}\n", style="bold"))
    if prompt.user_code:
        console.print("Open this address on any device, and enter the code:")
        _print_url(prompt.verification_uri, console)
        console.print(Panel(_code(prompt.user_code, console.width), padding=(1, 4), expand=False))
        if prompt.url != prompt.verification_uri:
            console.print("Or this one, which has the code in it:")
            _print_url(prompt.url, console)
        return
    console.print("Open this address in a browser, and agree:")
    _print_url(prompt.url, console)
    if prompt.is_listening:
        console.print("A browser on this machine then comes back here by itself. Elsewhere it", end=" ")
    else:
        console.print("The browser then", end=" ")
    console.print("ends at an address that it cannot open: copy that address, paste it here, and press Enter.")
    console.print()


def _print_url(url: str, console: Console) -> None:
    # On one line, however long, so that it can be copied and clicked.
    console.print(Text(f"\n{url}\n", style="cyan"), soft_wrap=True)


def _code(code: str, columns: int) -> RenderableType:
    plain = Align.center(Text(code, style="bold"))
    large = enlarged(code.upper(), columns - _PANEL_COLUMNS)
    return Group(Text(large, style="bold cyan"), Text(""), plain) if large else plain


async def _take_pasted(session: LoginSession, typed: Typed, console: Console) -> None:
    async for line in typed.lines():
        if not line.strip():
            continue
        try:
            session.paste(line)
        except LoginFailed as fault:
            console.print(Text(f"That does not fit: {fault}.", style="yellow"), soft_wrap=True)


class _Waiting:
    """The line at the bottom; drawn anew with each refresh."""

    def __init__(self, prompt: Prompt, typed: Typed | None) -> None:
        self._expires_at_s = prompt.expires_at_s
        self._life_s = max(1.0, prompt.expires_at_s - time.time())
        self._typed = typed
        self._spinner = Spinner("dots")

    def __rich__(self) -> RenderableType:
        left_s = max(0.0, self._expires_at_s - time.time())
        minutes, seconds = divmod(int(left_s), 60)
        pasted = self._typed.pending_chars if self._typed else 0
        line = Table.grid(padding=(0, 1))
        line.add_row(
            self._spinner,
            "Waiting for you",
            ProgressBar(total=self._life_s, completed=left_s, width=24),
            f"{minutes}:{seconds:02} left",
            f"{pasted} characters pasted" if pasted else "Ctrl-C cancels",
        )
        return line
