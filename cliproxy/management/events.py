"""The endpoint that tells what happens while it happens, as server-sent events."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from pydantic import BaseModel
from starlette.responses import StreamingResponse

from cliproxy.management.configuration import running_version
from cliproxy.management.endpoint import Call, Endpoint
from cliproxy.management.faults import ManagementFault
from cliproxy.management.feed import TOPICS, Event, Topic
from cliproxy.management.inventory import inventory, view
from cliproxy.management.operating import Operator, begun_view
from cliproxy.usage.prices import warm_up
from cliproxy.wire import json

EVENT_STREAM = "text/event-stream"
LOOKED_EVERY_S = 1.0
"""How often it is looked what has changed about credentials and logins."""
SILENCE_S = 15.0
"""After that much silence a comment shows that the connection stands."""

_DEFAULT: tuple[Topic, ...] = ("exchanges", "credentials", "config", "logins")


class Topics(BaseModel):
    topics: str = ""
    """Some of exchanges, credentials, config, logins, log, separated by commas. Default: all but log."""


async def _listen(call: Call[Topics, None]) -> StreamingResponse:
    named = [topic for name in call.query.topics.split(",") if (topic := name.strip())]
    topics: tuple[Topic, ...] = tuple(topic for topic in TOPICS if topic in named)
    if len(topics) != len(set(named)):
        raise ManagementFault(400, "unknown topic", f"one of {', '.join(TOPICS)}")
    # It takes half a second, and the first exchange must not wait for it.
    await asyncio.to_thread(warm_up)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(call.operator, topics or _DEFAULT), headers=headers, media_type=EVENT_STREAM)


async def _stream(operator: Operator, topics: Sequence[Topic]) -> AsyncGenerator[bytes]:
    with operator.feed.subscribed(topics) as subscription:
        # What is under way has begun while nobody listened; what ends from here on is told.
        begun = operator.under_way.values() if "exchanges" in topics else ()
        events = [Event("exchange-begun", begun_view(exchange)) for exchange in begun]
        hello = Event("hello", {"version": running_version(), "now_s": operator.clock()})
        yield b"".join(map(_frame, [hello, *events]))
        watches = [watch for watch in (_Credentials(operator), _Logins(operator)) if watch.topic in topics]
        silent_s = 0.0
        while True:
            events = await subscription.take(LOOKED_EVERY_S)
            events += [event for watch in watches for event in watch.look()]
            silent_s = 0.0 if events else silent_s + LOOKED_EVERY_S
            if events:
                yield b"".join(map(_frame, events))
            elif silent_s >= SILENCE_S:
                silent_s = 0.0
                yield b": still here\n\n"


def _frame(event: Event) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event.name.encode(), json.dumps(event.data))


class _Credentials:
    """What has changed about credentials since it was last looked: the pool and the accounts tell nobody."""

    topic: Topic = "credentials"

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._known = self._views()

    def _views(self) -> dict[str, dict[str, Any]]:
        return {entry.auth_index: view(self._operator, entry) for entry in inventory(self._operator)}

    def look(self) -> list[Event]:
        before, self._known = self._known, self._views()
        events = [Event("credential", now) for index, now in self._known.items() if before.get(index) != now]
        return events + [Event("credential-gone", {"auth_index": gone}) for gone in before.keys() - self._known.keys()]


class _Logins:
    """The same of logins."""

    topic: Topic = "logins"

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._known = self._states()

    def _states(self) -> dict[str, dict[str, str]]:
        return {
            one.state: {"state": one.state, "provider": one.provider, "status": one.status, "error": one.error}
            for one in self._operator.logins
        }

    def look(self) -> list[Event]:
        before, self._known = self._known, self._states()
        return [Event("login", now) for state, now in self._known.items() if before.get(state) != now]


ENDPOINTS: Sequence[Endpoint] = (
    Endpoint("GET", "/events", _listen, "What happens, while it happens", query=Topics, media_type=EVENT_STREAM),
)
