"""Which conversation belongs to which credential: prompt caches stay warm and encrypted reasoning stays readable."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MAX_BINDINGS = 10_000
_RENEWALS = 10
"""How often others are told of a binding in use while it would last."""


@dataclass(slots=True)
class Binding:
    """What serves a session's requests for a model."""

    credential_id: str
    model: str
    """As the upstream calls it: a prompt cache is one model's."""
    until_s: float
    place: tuple[int, int] = (0, 0)
    """Where it was found last among those that were asked for: group and candidate."""
    told_s: float = 0.0
    """The end of it that others know."""


class Affinity:
    """Bindings of sessions, by session and the client's name of the model; each lasts `ttl_s` from its last use.

    Where several gateways share credentials, each tells the others (`changed`) and takes over what they tell.
    """

    def __init__(self, ttl_s: float, clock: Callable[[], float] = time.time) -> None:
        """clock: seconds."""
        self.changed: Callable[[str, str, Binding | None], None] = lambda session, model, binding: None
        """Told of what a session and model are bound to now; None: to nothing any more."""
        self.ttl_s = ttl_s
        self._clock = clock
        self._bindings: OrderedDict[tuple[str, str], Binding] = OrderedDict()

    def binding(self, session: str, model: str) -> Binding | None:
        """What a session is bound to, if that is not too long ago."""
        found = self._bindings.get((session, model))
        if found and found.until_s <= self._clock():
            del self._bindings[session, model]
            return None
        return found

    def bind(self, session: str, model: str, credential_id: str, upstream_model: str) -> None:
        """The next requests go there."""
        self.take(session, model, credential_id, upstream_model, self._clock() + self.ttl_s)
        self.changed(session, model, self._bindings[session, model])

    def renew(self, session: str, model: str, credential_id: str, upstream_model: str) -> None:
        """It was used there; a session that is bound elsewhere stays so."""
        found = self._bindings.get((session, model))
        if found and (found.credential_id, found.model) == (credential_id, upstream_model):
            found.until_s = self._clock() + self.ttl_s
            self._bindings.move_to_end((session, model))
            if found.until_s - found.told_s > self.ttl_s / _RENEWALS:
                found.told_s = found.until_s
                self.changed(session, model, found)

    def release(self, session: str, model: str, credential_id: str, upstream_model: str) -> None:
        """It failed there: the session may go elsewhere."""
        found = self._bindings.get((session, model))
        if found and (found.credential_id, found.model) == (credential_id, upstream_model):
            del self._bindings[session, model]
            self.changed(session, model, None)

    # ------------------------------------------------------------ what other gateways tell

    def take(self, session: str, model: str, credential_id: str, upstream_model: str, until_s: float) -> None:
        """A session is bound, or what it is bound to was used."""
        self._bindings[session, model] = Binding(credential_id, upstream_model, until_s, told_s=until_s)
        self._bindings.move_to_end((session, model))
        if len(self._bindings) > MAX_BINDINGS:
            self._bindings.popitem(last=False)

    def drop(self, session: str, model: str) -> None:
        """A session is released."""
        self._bindings.pop((session, model), None)
