"""Which credentials are sidelined, for which model, until when and why.

State is kept per credential and model, and for the whole credential where the provider's quota is the account's.
It is keyed by what a credential is, so it survives a reload of the config and, when saved, a restart.

A cooldown that an upstream names can be days long and wrong (quotas are reset early, plans upgraded), so a long one is
probed: after `PROBE_AFTER_S` one request may try; only its failure keeps the credential sidelined.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

PROBE_AFTER_S = 600.0
"""The longest that a credential is left unasked, whatever the upstream said."""
FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 1800.0

ALL_MODELS = ""
"""The model of a state that holds for the whole credential."""


@dataclass(slots=True)
class Cooldown:
    """Why a credential is sidelined. Times are UTC epoch seconds."""

    until_s: float
    """When the upstream, or the backoff, says it may be asked again."""
    next_try_s: float
    """When it is asked in fact: `until_s`, or earlier as a probe."""
    reason: str
    """`quota`, `credential`, `transient`, `model`."""
    status: int
    """The upstream's last status; 0 for a failure without one."""
    message: str
    """The upstream's last words, without secrets."""
    level: int = 0
    """How often in a row it was sidelined by backoff."""
    probing: bool = False
    """The one request that may try is under way."""


class Cooldowns:
    """All cooldowns. `clock` tells UTC epoch seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._states: dict[tuple[str, str], Cooldown] = {}

    def is_ready(self, credential_id: str, model: str) -> bool:
        """Whether a credential may be asked for a model now."""
        now = self._clock()
        for state in self._of(credential_id, model):
            if now < state.next_try_s or (state.probing and now < state.until_s):
                return False
        return True

    def ready_at(self, credential_id: str, model: str) -> float:
        """When it may be asked next; now or earlier when it is ready."""
        return max((state.next_try_s for state in self._of(credential_id, model)), default=0.0)

    def blocking(self, credential_id: str, model: str) -> Cooldown | None:
        """What keeps it sidelined longest; None when it is ready."""
        now = self._clock()
        states = [
            s for s in self._of(credential_id, model) if now < s.next_try_s or (s.probing and now < s.until_s)
        ]
        return max(states, key=lambda s: s.next_try_s, default=None)

    def asked(self, credential_id: str, model: str) -> None:
        """A request is on its way: while a cooldown is only due for a probe, no second one follows."""
        now = self._clock()
        for state in self._of(credential_id, model):
            if now < state.until_s:
                state.probing = True

    def sideline(
        self,
        credential_id: str,
        model: str,
        *,
        seconds: float | None,
        at_least_s: float = 0.0,
        reason: str,
        status: int,
        message: str,
    ) -> None:
        """Sideline a credential; ALL_MODELS for the whole of it.

        seconds None: back off, from `at_least_s` or a second on, twice as long each time in a row. A deadline that
        stands is never shortened.
        """
        now = self._clock()
        before = self._states.get((credential_id, model))
        level = before.level if before else 0
        if seconds is None:
            # Failures that come while it is sidelined were on their way before: they do not count again.
            if before is None or now >= before.next_try_s:
                level += 1
            seconds = min(max(FIRST_BACKOFF_S, at_least_s) * 2 ** max(level - 1, 0), MAX_BACKOFF_S)
        until = now + seconds
        if before and before.until_s > until:
            until = before.until_s
        next_try = min(until, now + PROBE_AFTER_S)
        self._states[credential_id, model] = Cooldown(until, next_try, reason, status, message, level)

    def released(self, credential_id: str, model: str) -> None:
        """The probe ended without telling anything (the client left): another may try."""
        for state in self._of(credential_id, model):
            state.probing = False

    def succeeded(self, credential_id: str, model: str) -> None:
        """It served a request: whatever was held against it is over."""
        self._states.pop((credential_id, model), None)
        self._states.pop((credential_id, ALL_MODELS), None)

    def clear(self, credential_id: str | None = None) -> list[str]:
        """Forget the cooldowns of a credential, or all. Returns the models that were sidelined."""
        keys = [key for key in self._states if credential_id in (None, key[0])]
        for key in keys:
            del self._states[key]
        return [model for _, model in keys]

    def _of(self, credential_id: str, model: str) -> Iterator[Cooldown]:
        for key in ((credential_id, model), (credential_id, ALL_MODELS)):
            if state := self._states.get(key):
                yield state

    def dump(self) -> list[dict[str, Any]]:
        """What is not over, as JSON values."""
        now = self._clock()
        return [
            {"credential": credential_id, "model": model, **asdict(state), "probing": False}
            for (credential_id, model), state in self._states.items()
            if state.until_s > now
        ]

    def load(self, entries: list[dict[str, Any]]) -> None:
        """Take over what `dump` gave. Raises ValueError for anything else."""
        try:
            for entry in entries:
                values = {name: entry[name] for name in Cooldown.__slots__}
                self._states[str(entry["credential"]), str(entry["model"])] = Cooldown(**values)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a list of cooldowns: {error!r}") from None
