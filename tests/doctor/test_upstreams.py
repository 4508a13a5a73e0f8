"""Whether upstreams can be reached."""

from collections.abc import Sequence

from cliproxy.credentials.record import Credential
from cliproxy.doctor.finding import Finding
from cliproxy.doctor.upstreams import upstreams
from tests.answers import Answer
from tests.processes import UPSTREAM_KEY
from tests.upstream import Upstream


def at(*urls: str) -> list[Credential]:
    return [Credential(f"far{number}", ("openai-chat",), url, UPSTREAM_KEY) for number, url in enumerate(urls)]


async def looked(credentials: Sequence[Credential]) -> list[Finding]:
    return await upstreams(credentials, "direct")


async def test_any_answer_will_do_and_nothing_secret_is_sent(upstream: Upstream) -> None:
    upstream.script(Answer(status=401))
    (finding,) = await looked(at(f"{upstream.url}/v1"))
    assert finding.level == "ok"
    assert finding.text.startswith(f"far0 at {upstream.url}/v1 answers after ")
    (request,) = upstream.requests
    assert UPSTREAM_KEY not in str((request.headers, request.query, request.body))


async def test_an_address_is_asked_once(upstream: Upstream) -> None:
    assert len(await looked(at(upstream.url, upstream.url))) == 1
    assert len(upstream.requests) == 1


async def test_where_nobody_answers_is_an_error(free_port: int) -> None:
    (finding,) = await looked(at(f"http://127.0.0.1:{free_port}"))
    assert finding.level == "error"
    assert "cannot be reached" in finding.text


async def test_demo_needs_no_network() -> None:
    assert await looked([Credential("demo", ("openai-chat",), "http://demo.invalid")]) == []
