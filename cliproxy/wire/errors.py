"""The one tree of errors that a client can be told about.

    GatewayError            status, message, code, param, retry_after_s
    ├── ClientFault         the caller's own mistake (4xx): never retried, never held against a credential
    │   └── UnsupportedContent   content that the target format cannot say without changing the meaning
    ├── Unavailable         nobody can serve this now (429, 503)
    └── UpstreamFault       the upstream's doing
        ├── UpstreamRefused      it answered with an error status, or sent an error in its stream
        ├── UpstreamUnreachable  nothing was sent (502)
        ├── UpstreamTimeout      too slow to connect, to begin or to go on (504)
        ├── UpstreamGarbled      its answer is not what it claims to be (502)
        └── UpstreamCut          its answer ended before its end (502)

Each class exists because someone catches it. Messages say what, where and how to mend, and never hold
a secret. How an error looks on the wire is the business of the four codecs.
"""

from typing import Any, ClassVar


class GatewayError(Exception):
    """An error as a client may see it.

    status: HTTP status. code: short machine-readable word (OpenAI's `error.code`), or None.
    kind: the vendor's own type word (`overloaded_error`, `RESOURCE_EXHAUSTED` …), or None to derive it from the status.
    param: the request field that is at fault. retry_after_s: seconds after which another try makes sense.
    """

    default_status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        kind: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = self.default_status if status is None else status
        self.code = code
        self.kind = kind
        self.param = param
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[Any, ...]:
        # Copied and pickled without its own arguments being asked for again.
        return _same, (type(self), self.args, self.__dict__)


def _same(cls: type[GatewayError], args: tuple[Any, ...], state: dict[str, Any]) -> GatewayError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class ClientFault(GatewayError):
    """The caller's own mistake."""

    default_status = 400


class UnsupportedContent(ClientFault):
    """Content that the target format cannot say, and whose loss would change the meaning."""

    def __init__(self, content: str, target: str, *, param: str | None = None) -> None:
        super().__init__(f"{content} cannot be sent to a {target} upstream", code="unsupported_content", param=param)


class Unavailable(GatewayError):
    """No credential can serve this request now; `retry_after_s` says when one can."""

    default_status = 503


class UpstreamFault(GatewayError):
    """The upstream failed."""

    default_status = 502


class UpstreamRefused(UpstreamFault):
    """The upstream answered with an error.

    headers: its response headers, lower-case names. body: its raw body, as it came.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        kind: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(message, status=status, code=code, kind=kind, param=param, retry_after_s=retry_after_s)
        self.headers = headers or {}
        self.body = body


class UpstreamUnreachable(UpstreamFault):
    """No connection could be made: nothing of the request was sent."""


class UpstreamTimeout(UpstreamFault):
    """The upstream took longer than the configured limit."""

    default_status = 504


class UpstreamGarbled(UpstreamFault):
    """The upstream's answer is not what it claims to be."""


class UpstreamCut(UpstreamFault):
    """The upstream's answer ended before its end."""

    def __init__(self, message: str = "the upstream's answer ended before its end") -> None:
        super().__init__(message)
