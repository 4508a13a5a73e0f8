"""How an upstream is called beyond its wire format: where, with which headers, and what it wraps around the bodies.

A vendor's module overrides what its upstream does differently; everything above it sees one of the four formats.
"""

from abc import ABC, abstractmethod
from typing import Protocol

from cliproxy.credentials.record import Candidate
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.providers.call import Purpose, UpstreamCall


class AnswerReader(Protocol):
    """Takes a vendor's wrapping off the body of one successful answer, while it arrives.

    What cannot be unwrapped raises UpstreamGarbled; a vendor's error within the answer is written as the format's own
    error event, or raised where what comes out is one body.
    """

    content_type: str
    """Of what comes out."""

    def feed(self, data: bytes) -> bytes:
        """What the next bytes of the body mean; may be empty."""
        ...

    def finish(self) -> bytes:
        """The rest, at the body's clean end."""
        ...


class Dialect(ABC):
    """One way of calling an upstream. Holds no state of a call."""

    purposes: frozenset[Purpose] = frozenset(Purpose)
    """What its upstream can be asked for."""
    native_paths: frozenset[str] | None = None
    """The paths of those native calls that its upstream serves; None: all of its format's."""
    takes_compaction_trigger: bool = True
    """False: of a Responses conversation that ends in a wish for its summary, it must be asked in words."""
    token_refusals: frozenset[int] = frozenset({401})
    """Statuses that may mean no more than that an account's token must be renewed."""

    @abstractmethod
    def request(self, candidate: Candidate, call: UpstreamCall) -> UpstreamRequest:
        """The HTTP request for a call, with the credential. The credential's own headers and proxy are added later.

        Raises ClientFault or UnsupportedContent for what this upstream cannot be asked.
        """

    def reader(self, candidate: Candidate, call: UpstreamCall, headers: Headers) -> AnswerReader | None:
        """How to read a successful answer with these headers; None: it is in the call's format as it is."""
        return None
