"""Who may use the management API: those with its key, from this machine or from others where that is allowed.

Whence a request comes is what its socket says. A wrong key counts against the address; five of them lock it out.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import bcrypt

from cliproxy.config.schema.root import RemoteManagement
from cliproxy.management.faults import ManagementFault

FAILURES = 5
"""Wrong keys in a row after which an address is locked out."""
LOCKED_OUT_S = 30 * 60.0
FORGOTTEN_S = 2 * 3600.0
"""Failures this long ago count no more."""
MAX_ADDRESSES = 10_000
"""Addresses whose failures are remembered; of more, the oldest are forgotten."""

_BCRYPT = ("$2a$", "$2b$", "$2y$")
_BCRYPT_BYTES = 72
"""What bcrypt looks at; it refuses longer keys."""
_IPV6_NETWORK = 64
"""One user has that many addresses."""


def is_hashed(secret: str) -> bool:
    """Whether a key of the config is a bcrypt hash."""
    return secret.startswith(_BCRYPT)


def hashed(key: str) -> str:
    """The bcrypt hash to keep in a key's place; empty for a key that is too long to hash. Takes a while."""
    data = key.encode()
    return bcrypt.hashpw(data, bcrypt.gensalt()).decode() if len(data) <= _BCRYPT_BYTES else ""


def is_loopback(peer: str) -> bool:
    """Whether a socket's peer is this machine."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last_s: float = 0.0


class Guard:
    """Lets requests in. Outlives a configuration: a reload forgives nobody."""

    def __init__(self, password: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        """password: a second key, which also lets other machines in (`MANAGEMENT_PASSWORD`). clock: seconds."""
        self._password = password
        self._clock = clock
        self._failures: dict[str, _Failures] = {}
        self._salt = secrets.token_bytes(16)
        self._verified: tuple[str, bytes] = ("", b"")
        """A hash of the config, and a digest of the key that fits it: bcrypt is slow, and each request has the key."""
        self._hashing = asyncio.Lock()

    def is_open(self, settings: RemoteManagement) -> bool:
        """Whether there is any key, without which there is nothing here."""
        return bool(self._password or settings.secret_key.get_secret_value())

    def admit_peer(self, settings: RemoteManagement, peer: str) -> None:
        """Let a machine in. Raises ManagementFault (403)."""
        if not (is_loopback(peer) or settings.allow_remote or self._password):
            raise ManagementFault(403, "remote management disabled")

    async def admit(self, settings: RemoteManagement, peer: str, presented: str | None) -> None:
        """Let a request in. presented: the key that it shows, None: none. Raises ManagementFault: 404 where there is
        no API, 403 for the wrong machine or one that is locked out, 401 for the wrong key."""
        if not self.is_open(settings):
            raise ManagementFault(404, "not found")
        self.admit_peer(settings, peer)
        self._check_lock(peer)
        if not presented:
            raise ManagementFault(401, "missing management key", headers={"WWW-Authenticate": "Bearer"})
        secret = settings.secret_key.get_secret_value()
        if self._is_password(presented) or self._is_verified(secret, presented):
            self._failures.pop(_network(peer), None)
            return
        # One at a time: guesses that come together must not all be tried before the first has failed.
        async with self._hashing:
            self._check_lock(peer)
            if await self._fits(secret, presented):
                self._failures.pop(_network(peer), None)
                return
            self._failed(peer)
        raise ManagementFault(401, "invalid management key", headers={"WWW-Authenticate": "Bearer"})

    def _is_password(self, presented: str) -> bool:
        return bool(self._password) and hmac.compare_digest(self._digest(self._password), self._digest(presented))

    def _is_verified(self, secret: str, presented: str) -> bool:
        known, digest = self._verified
        return bool(secret) and known == secret and hmac.compare_digest(digest, self._digest(presented))

    async def _fits(self, secret: str, presented: str) -> bool:
        if not secret:
            return False
        if not is_hashed(secret):
            return hmac.compare_digest(self._digest(secret), self._digest(presented))
        if not await asyncio.to_thread(_matches_hash, secret, presented):
            return False
        self._verified = secret, self._digest(presented)
        return True

    def _digest(self, key: str) -> bytes:
        return hashlib.sha256(self._salt + key.encode("utf-8", "surrogateescape")).digest()

    # ------------------------------------------------------------ failures

    def _check_lock(self, peer: str) -> None:
        failures = self._failures.get(_network(peer))
        if failures is None or failures.count < FAILURES:
            return
        left_s = failures.last_s + LOCKED_OUT_S - self._clock()
        if left_s <= 0:
            del self._failures[_network(peer)]
            return
        raise ManagementFault(
            403,
            "IP banned due to too many failed attempts",
            f"too many wrong keys: try again in {math.ceil(left_s / 60)} minutes",
            headers={"Retry-After": str(math.ceil(left_s))},
        )

    def _failed(self, peer: str) -> None:
        now_s = self._clock()
        failures = self._failures.pop(_network(peer), None)
        if failures is None or now_s - failures.last_s > FORGOTTEN_S:
            failures = _Failures()
        failures.count, failures.last_s = failures.count + 1, now_s
        # Put back as the newest.
        self._failures[_network(peer)] = failures
        if len(self._failures) > MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]


def _matches_hash(secret: str, presented: str) -> bool:
    try:
        return bcrypt.checkpw(presented.encode(), secret.encode())
    except ValueError:  # a hash that is none, or a key that bcrypt does not take
        return False


def _network(peer: str) -> str:
    """Whom failures count against."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address) and not (address.ipv4_mapped or address.is_loopback):
        return str(ipaddress.ip_network((address, _IPV6_NETWORK), strict=False))
    return str(address)
