"""Children start on a free port, are charged for what they use, and end with their block."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from bench.formats import Order, question
from bench.load import Clients
from bench.servers import ROOT, NotStarted, mitmdump, upstream


async def test_the_upstream_serves_and_is_charged_for_it() -> None:
    with upstream() as server:
        before_s = server.cpu_s()
        with closing(Clients(server.port)) as clients:
            await clients.open(2)
            run = await clients.drive(question("anthropic", Order(200), server.port), 100)
        assert (len(run.timings), run.faults) == (100, {})
        assert server.cpu_s() > before_s
        assert server.memory_bytes() > 1_000_000
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


async def test_bare_mitmdump_streams_from_the_upstream(tmp_path: Path) -> None:
    with upstream() as mock:
        mode = f"reverse:http://127.0.0.1:{mock.port}"
        with mitmdump(tmp_path / "bare", mode, ROOT / "bench" / "streaming_addon.py") as server:
            with closing(Clients(server.port)) as clients:
                await clients.open(2)
                run = await clients.drive(question("openai-chat", Order(200), server.port), 4)
            assert (len(run.timings), run.faults) == (4, {})
            assert "listening at" in server.log_tail()
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_a_script_that_is_missing_is_reported_with_the_log(tmp_path: Path) -> None:
    with (
        pytest.raises(NotStarted, match="No such script"),
        mitmdump(tmp_path / "none", "reverse:http://127.0.0.1:1", tmp_path / "missing.py"),
    ):
        pass
