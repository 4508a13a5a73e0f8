"""A gateway that is killed at any step of a refresh: the account works when it is started again.

One moment cannot be covered from here: between the server's rotation and the answer's arrival only the server knows the
new token. Servers that allow for lost answers take the token before once more, as this one is told to for that step.
"""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cliproxy.accounts.accounts import Accounts
from cliproxy.config.loading import parse_config
from cliproxy.credentials.auth_dir import AuthDir
from cliproxy.credentials.auth_file import AuthFile
from cliproxy.routing.registry import builtin_registry
from tests.oauth.authorization_server import AuthorizationServer
from tests.processes import ROOT

NAME = "codex-me@example.com.json"

CHILD = """
import asyncio, os, signal, sys
from cliproxy.accounts.accounts import Accounts
from cliproxy.config.loading import parse_config
from cliproxy.routing.registry import builtin_registry

def killed(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

config, owner, name = sys.argv[1:]
path, _, attribute = owner.partition(":")
module = __import__(path, fromlist=["_"])
setattr(getattr(module, attribute) if attribute else module, name, killed)

async def main():
    accounts = Accounts(parse_config(config).config, builtin_registry())
    accounts.load()
    (account,) = accounts
    await account.ready()

asyncio.run(main())
"""
"""Refreshes, and is killed where it would call the named function."""

STEPS = {
    "before the server is asked": ("cliproxy.accounts.refresh", "refresh_tokens"),
    "before a file is begun": ("cliproxy.credentials.atomic_write:tempfile", "mkstemp"),
    "before the file is in place": ("cliproxy.credentials.atomic_write:Path", "replace"),
    "when the file is in place": ("cliproxy.credentials.atomic_write", "_sync_directory"),
}


def config_of(folder: Path, server: AuthorizationServer) -> dict[str, Any]:
    oauth = {"token-url": f"{server.url}/oauth/token", "client-id": "test-client"}
    return {"auth-dir": str(folder), "providers": {"codex": {"oauth": oauth}}}


@pytest.mark.parametrize("step", STEPS)
async def test_a_killed_refresh_leaves_a_login_that_works(tmp_path: Path, step: str) -> None:
    async with AuthorizationServer() as server:
        tokens = server.issuer.issue()
        login = {"type": "codex", **tokens, "expired": time.time() - 60, "last_refresh": time.time() - 3660}
        AuthDir(tmp_path).write(NAME, AuthFile.of(login))
        config = json.dumps(config_of(tmp_path, server))
        # Only the server knows the new token before a file is begun.
        server.settings.takes_again = step == "before a file is begun"
        owner, name = STEPS[step]
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, config, owner, name, cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        _, said = await child.communicate()
        assert child.returncode == -signal.SIGKILL, said.decode()

        accounts = Accounts(parse_config(config).config, builtin_registry())
        accounts.load()
        (account,) = accounts
        await account.ready()
        assert server.issuer.accepts(account.token)
        assert server.ledger.reuses == 0
        kept = AuthDir(tmp_path).read(NAME)
        assert kept.access_token == account.token
        # And on it goes, with the refresh token that is kept.
        assert await account.renewed(account.token)
        assert server.issuer.accepts(account.token)
