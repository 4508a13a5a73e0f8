"""What the gateway remembers beyond one configuration: reloading the config changes the rules, not the past."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from cliproxy.credentials import cooldown_file
from cliproxy.credentials.cooldown import SavedCooldown
from cliproxy.credentials.pool import Pool
from cliproxy.limits import KeyLimits
from cliproxy.members import Members
from cliproxy.transcripts import Transcripts
from cliproxy.transport.websocket import UpstreamSockets

SAVED_EVERY_S = 5.0


@dataclass(slots=True)
class Memory:
    """Whose turn it is and who is sidelined, what client keys have used, the conversations that ids stand for, and what
    open sockets hold."""

    pool: Pool = field(default_factory=Pool)
    limits: KeyLimits = field(default_factory=KeyLimits)
    transcripts: Transcripts = field(default_factory=Transcripts)
    sockets: UpstreamSockets = field(default_factory=UpstreamSockets)
    members: Members = field(default_factory=Members)

    async def keep_cooldowns(self, path: Path) -> None:
        """Take over the cooldowns that a file holds, and keep the file up to date until cancelled."""
        saved = await asyncio.to_thread(cooldown_file.load, path)
        self.pool.cooldowns.load(saved)
        try:
            while True:
                await asyncio.sleep(SAVED_EVERY_S)
                current = self.pool.cooldowns.dump()
                if current != saved:
                    await asyncio.to_thread(cooldown_file.save, path, current)
                    saved = current
        finally:
            self._save_last(path, saved)

    def _save_last(self, path: Path, saved: list[SavedCooldown]) -> None:
        if (current := self.pool.cooldowns.dump()) != saved:
            cooldown_file.save(path, current)
