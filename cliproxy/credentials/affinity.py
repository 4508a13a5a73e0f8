"""Which conversation belongs to which credential, so that prompt caches stay warm and encrypted reasoning stays readable."""

import time
from collections import OrderedDict
from collections.abc import Callable

MAX_BINDINGS = 10_000


class Affinity:
    """Bindings of sessions to credentials; each lasts `ttl_s` seconds from its last use. `clock` tells seconds."""

    def __init__(self, ttl_s: float, clock: Callable[[], float] = time.time) -> None:
        self.ttl_s = ttl_s
        self._clock = clock
        self._bound: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def bound_to(self, session: str, model: str) -> str | None:
        """The credential id that serves this session's requests for a model."""
        binding = self._bound.get((session, model))
        if binding is None:
            return None
        credential_id, until = binding
        if until <= self._clock():
            del self._bound[session, model]
            return None
        return credential_id

    def bind(self, session: str, model: str, credential_id: str) -> None:
        """A request was served: the next ones go to the same credential."""
        key = (session, model)
        self._bound[key] = (credential_id, self._clock() + self.ttl_s)
        self._bound.move_to_end(key)
        if len(self._bound) > MAX_BINDINGS:
            self._bound.popitem(last=False)

    def release(self, session: str, model: str, credential_id: str) -> None:
        """The credential failed: the session may go elsewhere."""
        binding = self._bound.get((session, model))
        if binding and binding[0] == credential_id:
            del self._bound[session, model]
