"""The rows of the benchmark: which server each client asks, and in which formats. Starts them and tries them out."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.formats import CLIENT_KEY, MODEL, Format, Order, Question, fault, question
from bench.load import BadAnswer, Connection
from bench.servers import ROOT, NotStarted, Server, mitmdump, upstream
from bench.upstream import COUNTS_PATH

DIRECT = "upstream directly"
BARE = "bare mitmdump"
GATEWAY = "gateway"
UNBOOKED = "gateway without its ledger"
LOGGING = "gateway with metrics and log files"
TRANSLATING: dict[str, tuple[Format, Format]] = {
    "anthropic to chat": ("anthropic", "openai-chat"),
    "chat to anthropic": ("openai-chat", "anthropic"),
}
"""Row: what its client speaks, what its upstream speaks."""
ROWS = (DIRECT, BARE, GATEWAY, UNBOOKED, LOGGING, *TRANSLATING)
_STREAMING_ADDON = ROOT / "bench" / "streaming_addon.py"


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    server: Server
    format: Format = "openai-chat"

    def question(self, deltas: int | None = None, interval_ms: int = 0) -> Question:
        return question(self.format, Order(deltas, interval_ms), self.server.port)


@dataclass(slots=True)
class Field:
    """The rows that can be measured, and why the others cannot."""

    rows: list[Row] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Rows that should have run: the server did not start, or its answers are wrong."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Rows that the gateway says it cannot do."""


@asynccontextmanager
async def running(folder: Path, *, translate: bool, addon: Path = ROOT / "cliproxy_addon.py") -> AsyncIterator[Field]:
    """Start the servers of all rows in `folder`, ask each a question, and end them after the block."""
    found = Field()
    async with AsyncExitStack() as stack:
        mock = stack.enter_context(upstream())
        rows = [Row(DIRECT, mock)]
        plain: tuple[Format, Format] = ("openai-chat", "openai-chat")
        wanted: dict[str, tuple[Format, Format]] = {GATEWAY: plain, UNBOOKED: plain, LOGGING: plain}
        if translate:
            wanted |= TRANSLATING
        try:
            mode = f"reverse:http://127.0.0.1:{mock.port}"
            rows.append(Row(BARE, stack.enter_context(mitmdump(folder / "bare", mode, _STREAMING_ADDON))))
        except NotStarted as problem:
            found.failed[BARE] = str(problem)
        for number, (name, (client, answering)) in enumerate(wanted.items()):
            config = folder / f"gateway-{number}.yaml"
            settings = gateway_config(folder, answering, mock.port)
            settings["usage-statistics-enabled"] = name != UNBOOKED
            settings |= {"metrics": {"enabled": name == LOGGING}, "logging-to-file": name == LOGGING}
            config.write_text(json.dumps(settings), encoding="utf-8")
            try:
                server = stack.enter_context(
                    mitmdump(
                        folder / f"gateway-{number}",
                        "reverse:http://cliproxy.internal",
                        addon,
                        [f"cliproxy_config={config}"],
                    )
                )
            except NotStarted as problem:
                found.failed[name] = str(problem)
                continue
            rows.append(Row(name, server, client))
        for row in rows:
            await _try_out(row, mock, wanted.get(row.name, ("openai-chat", "openai-chat"))[1], found)
        yield found


def gateway_config(folder: Path, answering: Format, port: int) -> dict[str, Any]:
    """The gateway's settings with one upstream, in that format, on `127.0.0.1:port`. JSON is YAML enough."""
    key, base_url = "sk-bench-upstream", f"http://127.0.0.1:{port}"
    models = [{"name": MODEL, "alias": MODEL}]
    common = {"auth-dir": str(folder / "auth"), "api-keys": [CLIENT_KEY]}
    if answering == "anthropic":
        return {**common, "claude-api-key": [{"api-key": key, "base-url": base_url, "models": models}]}
    provider = {
        "name": "bench",
        "base-url": f"{base_url}/v1",
        "api-key-entries": [{"api-key": key}],
        "models": models,
    }
    return {**common, "openai-compatibility": [provider]}


async def _try_out(row: Row, mock: Server, answering: Format, found: Field) -> None:
    """Ask for a whole and a streamed answer; list the row as measured, skipped or failed."""
    before = await _counts(mock)
    for asked in (row.question(), row.question(deltas=3)):
        try:
            async with asyncio.timeout(20):
                with closing(await Connection.open(row.server.port)) as connection:
                    status, body, _ = await connection.exchange(asked.payload)
        except (BadAnswer, OSError, TimeoutError) as problem:
            found.failed[row.name] = f"{type(problem).__name__}: {problem}\n{row.server.log_tail()}"
            return
        if row.name in TRANSLATING and status in (400, 501):
            found.skipped[row.name] = f"the gateway answers {status}: {_excerpt(body)}"
            return
        if problem := fault(asked, status, body):
            found.failed[row.name] = f"{problem}: {_excerpt(body)}\n{row.server.log_tail()}"
            return
    after = await _counts(mock)
    if after.get(answering, 0) - before.get(answering, 0) == 2:
        found.rows.append(row)
    else:
        found.failed[row.name] = f"the upstream was not asked in the format {answering}"


async def _counts(mock: Server) -> dict[str, int]:
    with closing(await Connection.open(mock.port)) as connection:
        _, body, _ = await connection.exchange(f"GET {COUNTS_PATH} HTTP/1.1\r\n\r\n".encode())
    return json.loads(body)


def _excerpt(body: bytes) -> str:
    return body[:300].decode(errors="replace")
