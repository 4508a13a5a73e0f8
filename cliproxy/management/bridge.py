"""Has an ASGI application answer a client's request, in this process and without a socket.

The answer's body is always a stream, so that nobody who keeps whole answers (mitmproxy's flows) keeps it: what the
management API says is full of secrets.
"""

import asyncio
import logging
from http import HTTPStatus
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Scope

from cliproxy.exchange import Answer, AnswerCut, ClientRequest, Headers
from cliproxy.tasks import Tasks

logger = logging.getLogger(__name__)

_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class Bridge:
    """One application, and what of it is running."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application
        self._tasks = Tasks()

    async def ask(self, request: ClientRequest) -> Answer:
        """The application's answer, whose body may go on for ever. What the application raises before it has answered
        is raised."""
        exchange = _Exchange(request)
        exchange.task = self._tasks.start(exchange.run(self._application), f"management {request.path:.60}")
        try:
            status, headers = await exchange.answered
        except BaseException:
            await exchange.aclose()
            raise
        if request.method == "HEAD" or status in _WITHOUT_BODY:
            await exchange.aclose()
            # How long the body would be; whoever sends the answer says how long it is.
            headers.popall("content-length", None)
            return Answer(status, headers, b"")
        return Answer(status, headers, exchange)

    async def close(self) -> None:
        """End what is running: streams of events would go on."""
        await self._tasks.cancel()


class _Exchange:
    """A call of the application, as it sees it and as whoever reads its answer does."""

    task: "asyncio.Task[None]"

    def __init__(self, request: ClientRequest) -> None:
        self.answered: asyncio.Future[tuple[int, Headers]] = asyncio.get_running_loop().create_future()
        self._request = request
        self._chunks = None if isinstance(request.body, bytes) else aiter(request.body)
        self._is_read = False
        self._gone = asyncio.Event()
        self._written: asyncio.Queue[bytes | None] = asyncio.Queue()
        """None: the end."""
        self._room = asyncio.Semaphore(1)
        """For one chunk at a time: a stream waits for its reader."""
        self._is_complete = False

    # ------------------------------------------------------------ the application's side

    async def run(self, application: ASGIApp) -> None:
        failure: Exception | None = None
        try:
            await application(_scope(self._request), self._receive, self._send)
        except Exception as error:
            failure = error
        except asyncio.CancelledError:
            # The program ends. Whoever has gone waits for no answer any more.
            if not self.answered.done():
                self.answered.set_result((HTTPStatus.SERVICE_UNAVAILABLE, Headers()))
                self._is_complete = True
            raise
        finally:
            if not self.answered.done():
                self.answered.set_exception(failure or RuntimeError("the application did not answer"))
            elif failure:
                logger.error("an answer of the management API broke off", exc_info=failure)
            self._written.put_nowait(None)

    async def _receive(self) -> Message:
        if not self._is_read:
            chunk = await anext(self._chunks, None) if self._chunks else None
            self._is_read = chunk is None
            body = self._request.body if isinstance(self._request.body, bytes) else chunk or b""
            return {"type": "http.request", "body": body, "more_body": not self._is_read}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"])
            # Whoever asked may have gone in this very moment.
            if not self.answered.done():
                self.answered.set_result((message["status"], headers))
        elif message["type"] == "http.response.body":
            if body := message.get("body"):
                await self._room.acquire()
                self._written.put_nowait(body)
            self._is_complete = not message.get("more_body")

    # ------------------------------------------------------------ the reader's side

    def __aiter__(self) -> "_Exchange":
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._written.get()
        if chunk is not None:
            self._room.release()
            return chunk
        if self._is_complete:
            raise StopAsyncIteration
        raise AnswerCut("the management API failed")

    async def aclose(self) -> None:
        self._gone.set()
        self.task.cancel()
        await asyncio.wait([self.task])


def _scope(request: ClientRequest) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote(request.path),
        "raw_path": request.path.encode("latin-1", "replace"),
        "query_string": request.query.encode("latin-1", "replace"),
        "root_path": "",
        "headers": [
            (name.lower().encode("latin-1", "replace"), value.encode("utf-8", "surrogateescape"))
            for name, value in request.headers.items()
        ],
        # The socket's peer: whatever headers claim, nobody else is asked.
        "client": (request.peer, 0),
        "server": None,
    }
