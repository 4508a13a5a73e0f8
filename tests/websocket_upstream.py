"""A mock upstream on loopback that speaks Responses over WebSocket: records what it was asked, answers as scripted.

Like the vendor it remembers one conversation a connection, by the id of the last response, and knows no other.
"""

import asyncio
import json
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from aiohttp import WSMsgType, web

type Event = Mapping[str, Any]
type Script = Sequence[Event | bytes | asyncio.Event | None]
"""The events of an answer; bytes are one as a binary message. An `asyncio.Event` holds back what follows, None closes the
socket."""


def answer(id: str, text: str = "hello") -> list[Event]:
    """A message as a response's events, with nothing in the output of the last one, as some upstreams do."""
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"id": f"msg_{id}", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    usage = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}
    return [
        {"type": "response.created", "response": {"id": id, "status": "in_progress", "output": []}},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {"id": id, "status": "completed", "output": [], "usage": usage}},
    ]


def error(status: int, code: str, **more: Any) -> list[Event]:
    """What comes in place of an answer."""
    return [{"type": "error", "status": status, "error": {"code": code, "message": f"no: {code}"}, **more}]


class WebSocketUpstream:
    """`async with WebSocketUpstream() as upstream:` takes requests at `upstream.url` + `/v1/responses`.

    Each request takes the next scripted answer; with none left it gets `answer("resp_N")`, N counting all requests.
    """

    url: str

    def __init__(self) -> None:
        self.handshakes: list[web.BaseRequest] = []
        self.requests: list[tuple[int, dict[str, Any]]] = []
        """Which connection, and what was asked."""
        self.posts: list[dict[str, Any]] = []
        """Bodies that came by HTTP, which are answered with 500 in JSON."""
        self.refusals: deque[int] = deque()
        """Statuses for the next handshakes."""
        self.closed = asyncio.Event()
        """A client has closed its socket."""
        self._answers: deque[Script] = deque()
        self._runner = web.ServerRunner(
            web.Server(self._serve, handler_cancellation=True, access_log=None), shutdown_timeout=0.01
        )

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def script(self, *answers: Script) -> None:
        """Queue answers for the next requests, first in, first out."""
        self._answers.extend(answers)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What was asked over WebSockets."""
        return [body for _, body in self.requests]

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("upgrade", "").lower() != "websocket":
            self.posts.append(await request.json())
            return web.json_response({"error": {"message": "no HTTP here"}}, status=500)
        self.handshakes.append(request)
        if self.refusals:
            status = self.refusals.popleft()
            return web.Response(status=status, headers={"location": "/elsewhere"} if status < 400 else None)
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        number, remembered = len(self.handshakes), ""
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            body = json.loads(message.data)
            self.requests.append((number, body))
            previous = body.get("previous_response_id")
            if previous and previous != remembered:
                script: Script = error(400, "previous_response_not_found")
            else:
                script = self._answers.popleft() if self._answers else answer(f"resp_{len(self.requests)}")
            remembered = await self._say(socket, script)
        self.closed.set()
        return socket

    async def _say(self, socket: web.WebSocketResponse, script: Script) -> str:
        """Send an answer; return the id of a response that is complete."""
        id = ""
        for event in script:
            if event is None:
                await socket.close()
            elif isinstance(event, asyncio.Event):
                await event.wait()
            elif isinstance(event, bytes):
                await socket.send_bytes(event)
            else:
                await socket.send_json(event)
                id = event["response"]["id"] if event["type"] == "response.completed" else ""
        return id
