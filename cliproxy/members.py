"""Credentials that come and go while the program runs, each with a transport of its own: pages that relay calls."""

from collections.abc import Callable

from cliproxy.credentials.record import Credential
from cliproxy.exchange import Transport


class Members:
    """Those that are there now."""

    def __init__(self) -> None:
        self.changed: Callable[[], None] = lambda: None
        """Told that there are others now."""
        self._members: dict[str, tuple[Credential, Transport]] = {}

    def join(self, credential: Credential, transport: Transport) -> None:
        """There is one more; another of the same id makes way for it."""
        self._members[credential.id] = credential, transport
        self.changed()

    def leave(self, credential_id: str) -> None:
        """One goes."""
        if self._members.pop(credential_id, None):
            self.changed()

    def credentials(self) -> list[Credential]:
        """In the order in which they joined."""
        return [credential for credential, _ in self._members.values()]

    def transport_of(self, credential: Credential) -> Transport | None:
        """What calls with a credential go over; None where it is no member."""
        known = self._members.get(credential.id)
        return known[1] if known else None
