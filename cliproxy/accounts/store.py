"""Where logins are kept: auth files, and for links the files of the vendors' own tools behind them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path

from cliproxy.credentials.auth_dir import AuthDir
from cliproxy.credentials.auth_file import AuthFile, AuthFileFault
from cliproxy.credentials.linked import linked_path, tool_of, with_linked_login, write_tokens
from cliproxy.oauth.errors import EndpointTrouble
from cliproxy.oauth.tokens import Tokens

type Lock = Callable[[str], AbstractAsyncContextManager[bool]]
"""By the name of an auth file; whether it is had."""


class LoginStore:
    """Auth files as the gateway uses them. A disk's troubles are `EndpointTrouble`: later tries may do."""

    def __init__(self, auth_dir: AuthDir, home: Path, elsewhere: Lock | None = None) -> None:
        """elsewhere: keeps other machines from a file, which is as they left it meanwhile."""
        self._auth_dir = auth_dir
        self._home = home
        self._elsewhere = elsewhere or (lambda name: nullcontext(True))

    def resolved(self, file: AuthFile) -> AuthFile:
        """With the login that it links to, if it does. Raises AuthFileFault."""
        return with_linked_login(file, self._home)

    @asynccontextmanager
    async def locked(self, name: str) -> AsyncIterator[bool]:
        """Keeps other tasks, processes and machines from renewing the login of a file; False: not those on others."""
        try:
            async with self._elsewhere(name) as is_everyones, self._auth_dir.lock(name):
                yield is_everyones
        except AuthFileFault as fault:
            raise EndpointTrouble(str(fault)) from None

    async def read(self, name: str) -> AuthFile:
        """The login as it is on disk now; only while it is `locked`. Raises EndpointTrouble."""
        try:
            await asyncio.to_thread(self._auth_dir.recover, name)
            return self.resolved(await asyncio.to_thread(self._auth_dir.read, name))
        except AuthFileFault as fault:
            raise EndpointTrouble(f"its file cannot be used: {fault}") from None

    async def keep(self, name: str, file: AuthFile) -> AuthFile:
        """Write a file; on disk when this returns it. Raises EndpointTrouble."""
        try:
            await asyncio.to_thread(self._auth_dir.write, name, file)
        except AuthFileFault as fault:
            raise EndpointTrouble(str(fault)) from None
        return file

    async def keep_tokens(self, name: str, file: AuthFile, tokens: Tokens, now_s: float) -> AuthFile:
        """Write new tokens where the login is kept; on disk when this returns. Raises EndpointTrouble."""
        renewed = file.with_tokens(tokens, now_s)
        if not file.linked:
            return await self.keep(name, renewed)
        try:
            await asyncio.to_thread(write_tokens, tool_of(file), linked_path(file, self._home), tokens)
        except AuthFileFault as fault:
            raise EndpointTrouble(str(fault)) from None
        return renewed
