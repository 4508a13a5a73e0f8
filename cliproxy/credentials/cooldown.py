"""Which credentials are sidelined, for which model, until when and why.

State is kept per credential and model, and for the whole credential where the provider's quota is the account's.
It is keyed by what a credential is, so it survives a reload of the config and, when saved, a restart. Where several
gateways share credentials, each tells the others (`changed`) and takes over what they tell (`take`, `drop`).

A cooldown that an upstream names can be days long and wrong (quotas are reset early, plans upgraded), so a long one is
probed: after `PROBE_AFTER_S` one request may try; only its failure keeps the credential sidelined.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

PROBE_AFTER_S = 600.0
"""The longest that a credential is left unasked, whatever the upstream said."""
FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 1800.0
MAX_COOLDOWN_S = 31 * 86400.0
"""The longest that is believed: a month's quota."""
MAX_MODELS = 1000
"""States of one credential; clients that invent model names must not fill the memory."""
_MAX_DOUBLINGS = 20

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
    """The upstream's last status."""
    message: str
    """The upstream's last words, without secrets."""
    level: int = 0
    """How often in a row it was sidelined by backoff."""
    prober: object = None
    """Whoever asked first although the cooldown is not over, until the outcome is known."""

    def blocks(self, now_s: float) -> bool:
        """Whether it stands, or its probe is under way."""
        return now_s < self.next_try_s or (self.prober is not None and now_s < self.until_s)


class SavedCooldown(msgspec.Struct):
    """A cooldown with what it is of; the fields are `Cooldown`'s."""

    credential: str
    """The credential's id."""
    model: str
    """As the upstream calls it; ALL_MODELS for the whole credential."""
    until_s: float
    next_try_s: float
    reason: str
    status: int
    message: str
    level: int = 0


class Cooldowns:
    """All cooldowns. Whoever asks is told by an object that is the same (`is`) from asking to the outcome."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """clock: UTC epoch seconds."""
        self.changed: Callable[[str, str], None] = lambda credential_id, model: None
        """Told of each cooldown, by credential and model, that has come, gone or changed here."""
        self._clock = clock
        self._states: dict[str, dict[str, Cooldown]] = {}

    def is_ready(self, credential_id: str, model: str) -> bool:
        """Whether a credential may be asked for a model now."""
        states = self._states.get(credential_id)
        if not states:
            return True
        now = self._clock()
        # Asked of every candidate that is passed over: written for speed.
        own = states.get(model)
        if own is not None and own.blocks(now):
            return False
        account = states.get(ALL_MODELS)
        return account is None or not account.blocks(now)

    def blocking(self, credential_id: str, model: str) -> Cooldown | None:
        """What keeps it sidelined; None when it is ready. Of two, the one that is no passing trouble, or the longer."""
        now = self._clock()
        states = [state for state in self._of(credential_id, model).values() if state.blocks(now)]
        return max(states, key=lambda state: (state.reason != "transient", state.next_try_s), default=None)

    def asked(self, credential_id: str, model: str, asker: object) -> None:
        """A request is on its way: while a cooldown is only due for a probe, no second one follows."""
        if credential_id in self._states:
            now = self._clock()
            for state in self._of(credential_id, model).values():
                if now < state.until_s and state.prober is None:
                    state.prober = asker

    def sideline(
        self,
        credential_id: str,
        model: str,
        asker: object,
        *,
        seconds: float | None,
        at_least_s: float = 0.0,
        reason: str,
        status: int,
        message: str,
    ) -> None:
        """Sideline a credential; ALL_MODELS for the whole of it.

        seconds None: back off, from `at_least_s` or a second on, twice as long each time in a row. A deadline that
        stands is shortened only where a probe was told a nearer one for the same reason.
        """
        now = self._clock()
        states = self._states.setdefault(credential_id, {})
        before = states.get(model)
        level = before.level if before else 0
        # Failures that come while it is sidelined were on their way before: they do not count again.
        if seconds is None and (before is None or now >= before.next_try_s):
            level += 1
        until = now + (_backoff_s(level, at_least_s) if seconds is None else min(seconds, MAX_COOLDOWN_S))
        if before and before.until_s > until:
            told_nearer = seconds is not None and before.prober is asker and before.reason == reason
            if not told_nearer:
                if before.level != level:
                    before.level = level
                    self.changed(credential_id, model)
                return
        if before is None and len(states) >= MAX_MODELS:
            del states[next(iter(states))]
        next_try = min(until, now + PROBE_AFTER_S)
        states[model] = Cooldown(until, next_try, reason, status, message, level)
        self.changed(credential_id, model)

    def released(self, credential_id: str, model: str, asker: object, *, failed: bool = False) -> None:
        """A request is over that does not end a cooldown: if it was the probe, another may follow.

        failed: it was refused, so that the next one has to wait; else it said nothing.
        """
        for key, state in self._of(credential_id, model).items():
            if state.prober is asker:
                state.prober = None
                if failed:
                    state.next_try_s = min(state.until_s, self._clock() + PROBE_AFTER_S)
                    self.changed(credential_id, key)

    def succeeded(self, credential_id: str, model: str, asker: object) -> None:
        """It served a request: what was held against it is over, but for what has come since that request began."""
        states = self._states.get(credential_id)
        if states is None:
            return
        now = self._clock()
        for key in (model, ALL_MODELS):
            state = states.get(key)
            if state and (state.prober is asker or now >= state.until_s):
                del states[key]
                self.changed(credential_id, key)
        if not states:
            del self._states[credential_id]

    def forgive(self, credential_id: str) -> None:
        """End the cooldowns for which the credential itself was to blame: it has another token or login now."""
        states = self._states.pop(credential_id, {})
        if left := {model: state for model, state in states.items() if state.reason != "credential"}:
            self._states[credential_id] = left
        for model in states.keys() - left.keys():
            self.changed(credential_id, model)

    def clear(self, credential_id: str | None = None) -> list[str]:
        """Forget the cooldowns of a credential, or all. Returns the models that were sidelined."""
        ids = list(self._states) if credential_id is None else [credential_id]
        cleared = [(one, model) for one in ids for model in self._states.pop(one, ())]
        for one, model in cleared:
            self.changed(one, model)
        return [model for _, model in cleared]

    def _of(self, credential_id: str, model: str) -> dict[str, Cooldown]:
        states = self._states.get(credential_id)
        if not states:
            return {}
        return {key: states[key] for key in (model, ALL_MODELS) if key in states}

    # ------------------------------------------------------------ beyond this program

    def dump(self) -> list[SavedCooldown]:
        """What is not over."""
        now = self._clock()
        return [
            _saved(credential_id, model, state)
            for credential_id, states in self._states.items()
            for model, state in states.items()
            if state.until_s > now
        ]

    def saved(self, credential_id: str, model: str) -> SavedCooldown | None:
        """One of them; None: there is none."""
        state = self._states.get(credential_id, {}).get(model)
        return _saved(credential_id, model, state) if state else None

    def load(self, saved: Sequence[SavedCooldown]) -> None:
        """Take over what `dump` gave, but for what is over by now or known better."""
        for entry in saved:
            if entry.model not in self._states.get(entry.credential, {}):
                self.take(entry)

    def take(self, entry: SavedCooldown) -> None:
        """Another gateway has sidelined a credential, or for another time than it had."""
        now = self._clock()
        if entry.until_s <= now:
            return
        until = min(entry.until_s, now + MAX_COOLDOWN_S)
        next_try = min(entry.next_try_s, until, now + PROBE_AFTER_S)
        states = self._states.setdefault(entry.credential, {})
        if entry.model not in states and len(states) >= MAX_MODELS:
            del states[next(iter(states))]
        states[entry.model] = Cooldown(until, next_try, entry.reason, entry.status, entry.message, entry.level)

    def drop(self, credential_id: str, model: str) -> None:
        """Another gateway has ended a cooldown."""
        states = self._states.get(credential_id, {})
        states.pop(model, None)
        if not states:
            self._states.pop(credential_id, None)


def _saved(credential_id: str, model: str, state: Cooldown) -> SavedCooldown:
    return SavedCooldown(
        credential_id, model, state.until_s, state.next_try_s, state.reason, state.status, state.message, state.level
    )


def _backoff_s(level: int, at_least_s: float) -> float:
    doublings = min(max(level - 1, 0), _MAX_DOUBLINGS)
    return min(max(FIRST_BACKOFF_S, at_least_s) * 2**doublings, MAX_BACKOFF_S)
