"""The commands whose names begin with `cliproxy.`, as a user of mitmweb gives them."""

import asyncio
import json
import shlex
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from aiohttp import ClientSession

from tests import mitmweb, native
from tests.calls import MODELS, ask, call
from tests.mitmweb import Flow, Mitmweb
from tests.native import FORMATS, Format
from tests.processes import CLIENT_KEY, UPSTREAM_KEY, Gateway, config_for, listening, mitmproxy, written
from tests.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Site:
    """A gateway in mitmweb, its user, its client, its upstream and the file of its config."""

    def __init__(self, gateway: Gateway, web: Mitmweb, client: ClientSession, upstream: Upstream, file: Path) -> None:
        self.gateway = gateway
        self.web = web
        self.client = client
        self.upstream = upstream
        self.file = file

    async def asked(self, format: Format, *, stream: bool = False, model: str = "") -> Flow:
        """The client's flow of a call, which is the only one then but for its attempts."""
        await self.web.clear()
        await ask(self.client, self.gateway, call(format, stream=stream, model=model))
        await self.web.wait_for(lambda flow: flow.is_attempt and bool(flow.raw["marked"]))
        return await self.web.wait_for(lambda flow: not flow.is_attempt and bool(flow.raw["marked"]))

    async def rows(self, command: str, *arguments: str) -> list[list[str]]:
        return await self.web.run(command, *arguments)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    confdir: Path, shared_upstream: Upstream, client: ClientSession, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    port, file = mitmweb.free_port(), written(tmp_path_factory.mktemp("config"), config(shared_upstream))
    options = (*mitmweb.options(port), "--set", f"cliproxy_config={file}")
    async with mitmproxy(confdir, *options, program="mitmweb") as gateway:
        await listening(gateway)
        async with Mitmweb.of(gateway, port) as web:
            yield Site(gateway, web, client, shared_upstream, file)


def config(upstream: Upstream, **keys: Any) -> dict[str, Any]:
    return config_for(upstream, disable_cooling=False, **keys)


# ---------------------------------------------------------------- the gateway


async def test_credentials_and_models_are_listed(site: Site) -> None:
    credentials = await site.rows("cliproxy.credentials")
    [claude] = [row for row in credentials if row[0].startswith("claude sk-t…#")]
    assert claude[1:] == ["anthropic", "priority 0", "ready"]
    assert not [cell for row in credentials for cell in row if UPSTREAM_KEY in cell]
    models = await site.rows("cliproxy.models")
    assert {"anthropic-model", "gemini-model"} <= {row[0] for row in models}
    assert ["anthropic-model", "claude", ""] in models


async def test_cooldowns_are_shown_and_cleared(site: Site) -> None:
    site.upstream.script(native.error("anthropic", 401, "who are you?"))
    assert (await ask(site.client, site.gateway, call("anthropic"))).status == 401
    assert (await ask(site.client, site.gateway, call("anthropic"))).status == 503
    [claude] = [row for row in await site.rows("cliproxy.credentials") if row[0].startswith("claude")]
    assert claude[3].startswith("all models: credential 401, asked again in ")
    assert "who are you?" in claude[3]
    with pytest.raises(RuntimeError, match="No credential is called"):
        await site.web.run("cliproxy.cooldown.clear", "nobody")
    await site.web.run("cliproxy.cooldown.clear", "gemini")
    assert (await ask(site.client, site.gateway, call("anthropic"))).status == 503
    await site.web.run("cliproxy.cooldown.clear", "Claude")
    assert (await ask(site.client, site.gateway, call("anthropic"))).status == 200
    await site.web.run("cliproxy.cooldown.clear")


async def test_the_config_is_read_again(site: Site) -> None:
    before = site.file.read_text("utf-8")
    models = [{"name": "upstream-model", "alias": "new-model"}]
    more = {"claude-api-key": [{"api-key": UPSTREAM_KEY, "base-url": site.upstream.url, "models": models}]}
    site.file.write_text(yaml.safe_dump({**config(site.upstream), **more}), "utf-8")
    await site.web.run("cliproxy.reload")
    try:
        assert (await ask(site.client, site.gateway, call("anthropic", model="new-model"))).status == 200
        site.file.write_text("port: many\n", "utf-8")
        with pytest.raises(RuntimeError, match=r"yaml:1:.*port"):
            await site.web.run("cliproxy.reload")
        assert (await ask(site.client, site.gateway, call("anthropic", model="new-model"))).status == 200
    finally:
        site.file.write_text(before, "utf-8")
        await site.web.run("cliproxy.reload")


# ---------------------------------------------------------------- asking again


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", FORMATS)
async def test_a_request_is_sent_again_to_another_model(site: Site, format: Format, stream: bool) -> None:
    first = await site.asked(format, stream=stream)
    other = MODELS["anthropic" if format != "anthropic" else "openai-chat"]
    await site.web.run("cliproxy.replay", f"@{first.id}", other)
    again = await site.web.wait_for(
        lambda flow: (
            not flow.is_attempt
            and flow.raw["is_replay"] == "request"
            and "response" in flow.raw
            and "attempts" in flow.raw["comment"]
        )
    )
    assert again.id != first.id
    assert f"replay of {first.id[:8]}" in again.raw["comment"]
    assert f"{other} → " in again.raw["comment"]
    assert "hello from upstream" in (await site.web.view(again, "response"))[0]
    # The first one stays as it was.
    [kept] = [flow for flow in await site.web.flows() if flow.id == first.id]
    assert kept.raw == first.raw


async def test_an_attempt_means_its_clients_request(site: Site) -> None:
    first = await site.asked("gemini", model="anthropic-model")
    [attempt] = [flow for flow in await site.web.flows() if flow.is_attempt]
    await site.web.run("cliproxy.replay", f"@{attempt.id}")
    again = await site.web.wait_for(lambda flow: f"replay of {first.id[:8]}" in flow.raw["comment"])
    assert again.raw["request"]["path"] == first.raw["request"]["path"]


async def test_mitmproxys_own_replay_sends_no_mask_upstream(site: Site) -> None:
    await site.asked("anthropic")
    [attempt] = [flow for flow in await site.web.flows() if flow.is_attempt]
    before = len(site.upstream.requests)
    await site.web.run("replay.client", f"@{attempt.id}")
    again = await site.web.wait_for(
        lambda flow: flow.id == attempt.id and flow.raw.get("response", {}).get("status_code") == 409
    )
    assert "cliproxy.replay" in (await site.web.body(again, "response")).decode()
    assert len(site.upstream.requests) == before


async def test_what_cannot_be_sent_again_is_refused(site: Site) -> None:
    await site.web.clear()
    async with site.client.get(f"{site.gateway.url}/v1/models", headers={"authorization": f"Bearer {CLIENT_KEY}"}):
        pass
    with pytest.raises(RuntimeError, match="names no model"):
        await site.web.run("cliproxy.replay", "@all", "some-model")
    await site.web.clear()
    with pytest.raises(RuntimeError, match="No flow is selected"):
        await site.web.run("cliproxy.replay", "@all")


# ---------------------------------------------------------------- sharing


async def test_a_report_tells_everything_and_no_secret(site: Site, tmp_path: Path) -> None:
    site.upstream.script(native.error("anthropic", 529, f"overloaded, {UPSTREAM_KEY}"))
    await site.web.clear()
    asked = call("openai-chat", stream=True, model="anthropic-model")
    asked.json.update({"seed": 7, "messages": [{"role": "user", "content": f"my key is {CLIENT_KEY}"}]})
    await ask(site.client, site.gateway, asked)
    await site.web.run("cliproxy.cooldown.clear")
    await ask(site.client, site.gateway, asked)
    path = tmp_path / "report.md"
    await site.web.run("cliproxy.export", "@all", str(path))
    text = path.read_text("utf-8")
    assert not [secret for secret in (CLIENT_KEY, UPSTREAM_KEY) if secret in text]
    assert text.startswith("# Report of 2 exchanges\n")
    assert text.count("## POST /v1/chat/completions") == 2
    assert text.count("### Attempt 1") == 2
    for told in (
        "* mitmproxy 12.", "* Python 3.", "* format: openai-chat", "* format: anthropic", "* dropped 1: seed",
        "529", "overloaded, sk-t…#", "my key is sk-t…#", "message_start", "chat.completion.chunk",
        "${CLIPROXY_KEY}", "${UPSTREAM_KEY}", "curl -sS -N http://127.0.0.1:",
    ):  # fmt: skip
        assert told in text, told
    with pytest.raises(RuntimeError, match="cannot be written"):
        await site.web.run("cliproxy.export", "@all", str(tmp_path / "nowhere" / "report.md"))


async def test_a_report_is_made_of_what_is_there_yet(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    await site.web.clear()
    client = await site.asked("anthropic")
    [attempt] = [flow for flow in await site.web.flows() if flow.is_attempt]
    await site.web.run("view.flows.remove", f"@{attempt.id}")
    await site.web.run("cliproxy.export", f"@{client.id}", str(path))
    text = path.read_text("utf-8")
    assert "## POST /v1/messages" in text
    assert "### Attempt" not in text

    await site.web.clear()
    client = await site.asked("anthropic")
    [attempt] = [flow for flow in await site.web.flows() if flow.is_attempt]
    await site.web.run("view.flows.remove", f"@{client.id}")
    with pytest.raises(RuntimeError, match="is not here any more"):
        await site.web.run("cliproxy.export", f"@{attempt.id}", str(path))


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize("format", FORMATS)
async def test_the_curl_line_works(site: Site, format: Format) -> None:
    flow = await site.asked(format)
    for each, variable, key in ((flow, "CLIPROXY_KEY", CLIENT_KEY), (None, "UPSTREAM_KEY", UPSTREAM_KEY)):
        shown = each or next(flow for flow in await site.web.flows() if flow.is_attempt)
        line = await site.web.run("cliproxy.curl", f"@{shown.id}")
        assert f"${{{variable}}}" in line
        shell = await asyncio.create_subprocess_exec(
            "sh", "-c", line, env={variable: key, "PATH": "/usr/bin:/bin"}, stdout=asyncio.subprocess.PIPE
        )  # fmt: skip
        said, _ = await shell.communicate()
        assert "hello from upstream" in said.decode(), line
        json.loads(said)
        assert shlex.split(line)[0] == "curl"
    assert site.upstream.requests[-1].body


async def test_filters_find_flows_by_what_they_are(site: Site) -> None:
    """The expressions of `docs/inspection.md`."""
    site.upstream.script(native.error("anthropic", 400, "upstream says no"))
    await site.asked("openai-chat", model="anthropic-model")
    await ask(site.client, site.gateway, call("gemini"))
    await site.web.wait_for(
        lambda flow: flow.is_attempt and "gemini/" in flow.raw["comment"] and bool(flow.raw["marked"])
    )

    for expression, expected in {
        "~meta cliproxy.attempt:": 2,
        "! ~meta cliproxy.attempt:": 2,
        '~meta "cliproxy.provider: claude"': 2,
        '~meta "cliproxy.model: gemini-model"': 2,
        '~meta "cliproxy.outcome: failed"': 2,
        '~meta "cliproxy.error: .*says no"': 1,
        '~meta "cliproxy.credential: gemini sk-t"': 2,
        '~meta "cliproxy.key: "': 4,
        '~meta "cliproxy.retries: [1-9]"': 0,
        '~comment "→ claude/"': 2,
        "~marked": 4,
        "~marker multiplication": 2,
    }.items():
        assert len(await site.web.found(expression)) == expected, expression
