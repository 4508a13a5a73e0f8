"""The management API as it runs, without mitmproxy: real files, accounts, ledger and pool, asked over its bridge."""

import json
from collections.abc import AsyncIterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cliproxy.accounts.accounts import Accounts
from cliproxy.config.loading import Loaded, load_config
from cliproxy.exchange import Answer, ClientRequest, Headers
from cliproxy.management.application import BASE_PATH, application
from cliproxy.management.bridge import Bridge
from cliproxy.management.operating import Operator, Running
from cliproxy.memory import Memory
from cliproxy.routing.registry import builtin_registry
from cliproxy.usage.ledger import Ledger

KEY = "test-management-key"
CONFIG = f"""\
# A config as its user wrote it.
auth-dir: {{folder}}/auth
proxy-url: direct  # nothing of ours leaves this machine
usage: {{{{path: "{{folder}}/usage.db"}}}}
remote-management:
  secret-key: {KEY}
"""


@dataclass
class Reply:
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Desk:
    """Where an operator sits."""

    folder: Path
    applied: list[Loaded] = field(default_factory=list)
    """Configurations that were put in force, the first one included."""
    account_changes: int = 0

    def __post_init__(self) -> None:
        self.memory = Memory()
        self.ledger: Ledger | None = None
        self.operator = Operator(self.memory, self._apply, self._changed, log_folder=self.folder / "logs")
        self.bridge = Bridge(application(self.operator))
        self._apply(load_config(self.config_path))

    @property
    def config_path(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def auth_dir(self) -> Path:
        return self.folder / "auth"

    def _apply(self, loaded: Loaded) -> None:
        self.applied.append(loaded)
        config = loaded.config
        accounts = Accounts(config, builtin_registry())
        accounts.load()
        if self.ledger:
            self.ledger.close()
        self.ledger = Ledger(config.usage) if config.usage_statistics_enabled else None
        running = Running(config, loaded.warnings, builtin_registry(), accounts, self.ledger)
        self.operator.run(self.config_path, running)

    def _changed(self) -> None:
        self.account_changes += 1

    async def answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: bytes | AsyncIterable[bytes] = b"",
        headers: Mapping[str, str] | None = None,
        key: str | None = KEY,
        peer: str = "127.0.0.1",
    ) -> Answer:
        """path: below the tree, or beside it with a leading slash twice."""
        sent = Headers(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        target = path[1:] if path.startswith("//") else BASE_PATH + path
        return await self.bridge.ask(
            ClientRequest(method, target, urlencode(query or {}, doseq=True), sent, body, peer)
        )

    async def ask(self, method: str, path: str, value: Any = None, **options: Any) -> Reply:
        """value: the JSON body."""
        if value is not None:
            options["body"] = json.dumps(value).encode()
        answer = await self.answer(method, path, **options)
        body = answer.body if isinstance(answer.body, bytes) else b"".join([chunk async for chunk in answer.body])
        return Reply(answer.status, answer.headers, body)

    async def get(self, path: str, **query: Any) -> Any:
        """The JSON of an answer that is all right."""
        reply = await self.ask("GET", path, query=query)
        assert reply.status == 200, reply.text
        return reply.json

    def config_text(self) -> str:
        return self.config_path.read_text("utf-8")

    async def close(self) -> None:
        await self.bridge.close()
        await self.operator.close()
        if self.ledger:
            self.ledger.close()


@asynccontextmanager
async def desk_of(folder: Path, more: str = ""):
    """A desk with its usual config and some lines more."""
    (folder / "config.yaml").write_text(CONFIG.format(folder=folder) + more, "utf-8")
    desk = Desk(folder)
    try:
        yield desk
    finally:
        await desk.close()
