"""What happens is told by topic, in order, and whoever reads too slowly is told what was dropped."""

import asyncio

from cliproxy.management.feed import MAX_WAITING, Event, Feed


async def test_listeners_get_their_topics_in_order() -> None:
    feed = Feed()
    with feed.subscribed(["exchanges"]) as one, feed.subscribed(["config", "exchanges"]) as other:
        feed.publish("exchanges", "a", 1)
        feed.publish("config", "b", 2)
        feed.publish("log", "c", 3)
        assert await one.take(0) == [Event("a", 1)]
        assert await other.take(0) == [Event("a", 1), Event("b", 2)]
        assert await one.take(0) == []


async def test_it_is_known_whether_anyone_listens() -> None:
    feed = Feed()
    assert not feed.wants("log")
    with feed.subscribed(["log"]):
        assert feed.wants("log") and not feed.wants("config")
    assert not feed.wants("log")


async def test_a_listener_wakes_when_something_comes() -> None:
    feed = Feed()
    with feed.subscribed(["config"]) as listener:
        asyncio.get_running_loop().call_soon(feed.publish, "config", "a", 1)
        assert await listener.take(30) == [Event("a", 1)]


async def test_who_reads_too_slowly_is_told_what_was_lost() -> None:
    feed = Feed()
    with feed.subscribed(["config"]) as listener:
        for number in range(MAX_WAITING + 7):
            feed.publish("config", "a", number)
        events = await listener.take(0)
        assert len(events) == MAX_WAITING + 1
        assert (events[0].data, events[-1]) == (0, Event("lagged", {"lost": 7}))
        feed.publish("config", "a", -1)
        assert await listener.take(0) == [Event("a", -1)]
