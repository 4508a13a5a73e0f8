"""What happens, told to those who listen: by topic, and never waiting for anyone.

Whoever publishes asks `wants` first, so that nothing is put together for nobody.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, get_args

Topic = Literal["exchanges", "credentials", "config", "logins", "log"]
TOPICS: tuple[Topic, ...] = get_args(Topic)
MAX_WAITING = 1_000
"""Events that wait for one listener; further ones are dropped and counted."""


class Event(NamedTuple):
    name: str
    data: Any
    """What JSON can say."""


class Subscription:
    """One listener."""

    def __init__(self, topics: frozenset[Topic]) -> None:
        self.topics = topics
        self._events: deque[Event] = deque()
        self._lost = 0
        self._arrived = asyncio.Event()

    def put(self, event: Event) -> None:
        if len(self._events) < MAX_WAITING:
            self._events.append(event)
        else:
            self._lost += 1
        self._arrived.set()

    async def take(self, wait_s: float) -> list[Event]:
        """What has come; what comes first within some seconds, else nothing. Where events were dropped, `lagged` says
        after the others how many."""
        try:
            async with asyncio.timeout(wait_s):
                await self._arrived.wait()
        except TimeoutError:
            return []
        self._arrived.clear()
        events = list(self._events)
        self._events.clear()
        if self._lost:
            events.append(Event("lagged", {"lost": self._lost}))
            self._lost = 0
        return events


class Feed:
    """All listeners. Lives on one event loop."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []

    @contextmanager
    def subscribed(self, topics: Iterable[Topic]) -> Iterator[Subscription]:
        """Listen, as long as the block lasts."""
        subscription = Subscription(frozenset(topics))
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)

    def wants(self, topic: Topic) -> bool:
        """Whether anyone listens to a topic."""
        return any(topic in subscription.topics for subscription in self._subscriptions)

    def publish(self, topic: Topic, name: str, data: Any) -> None:
        """Tell those who listen to a topic. data: what JSON can say, not changed afterwards."""
        event = Event(name, data)
        for subscription in self._subscriptions:
            if topic in subscription.topics:
                subscription.put(event)
