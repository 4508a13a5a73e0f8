"""The newest of the log is kept, whoever logs it, and told to those who listen."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from cliproxy.management.feed import Feed
from cliproxy.management.recent_log import MAX_CHARS, MAX_RECORDS, RecentLog

logger = logging.getLogger("test.recent")


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def recent(feed: Feed) -> Iterator[RecentLog]:
    handler = RecentLog(feed)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.DEBUG)
    yield handler
    handler.detach()
    logging.getLogger().setLevel(level)


async def test_records_are_kept_in_order(recent: RecentLog) -> None:
    recent.attach()
    logger.info("one %d", 1)
    logger.debug("not this")
    logger.warning("two")
    one, two = recent.newest(10)
    assert (one.level, one.logger, one.text, two.text) == ("INFO", "test.recent", "one 1", "two")
    assert two.seq == one.seq + 1
    assert recent.newest(1) == [two]


async def test_the_memory_is_bounded(recent: RecentLog) -> None:
    recent.attach()
    for number in range(MAX_RECORDS + 5):
        logger.info("%d", number)
    logger.info("x" * MAX_CHARS * 2)
    records = recent.newest(10**6)
    assert len(records) == MAX_RECORDS and records[0].text == "6"
    assert len(records[-1].text) == MAX_CHARS


async def test_listeners_are_told_from_whichever_thread(recent: RecentLog, feed: Feed) -> None:
    recent.attach()
    with feed.subscribed(["log"]) as listener:
        await asyncio.to_thread(logger.info, "from a thread")
        (event,) = await listener.take(30)
    assert (event.name, event.data["text"]) == ("log", "from a thread")


async def test_a_record_that_cannot_be_formatted_hurts_nobody(
    recent: RecentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    recent.attach()
    logger.info("%d", "no number")
    logger.info("next")
    assert [record.text for record in recent.newest(10)] == ["next"]
