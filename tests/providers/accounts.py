"""Accounts of vendors without their files, gateways over them, and what clients of all formats make of an answer."""

import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from cliproxy.config import parse_config
from cliproxy.config.schema import Config
from cliproxy.credentials.record import Candidate, Credential, OfferedModel
from cliproxy.exchange import Headers
from cliproxy.gateway import Gateway
from cliproxy.oauth.device import begin_device
from cliproxy.oauth.flow import Prompt
from cliproxy.oauth.token_endpoint import http_client
from cliproxy.oauth.tokens import Tokens
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.providers.vendor import Place, Vendor
from cliproxy.transport.client import HttpTransport, TimeLimits
from cliproxy.wire.model import ModelFacts
from tests.answers import Answer
from tests.features.gateways import MODEL, Clients
from tests.native import Format
from tests.upstream import Upstream

TOKEN = "test-access-1"


class Login:
    """An account whose tokens are at hand."""

    def __init__(self, token: str, fields: Mapping[str, Any], *later: str) -> None:
        """later: further tokens, for when one is refused."""
        self.id = f"test:{token}"
        self.label = "me@example.com"
        self.token = token
        self.fields = fields
        self._later = [*later]

    async def ready(self) -> None:
        return

    async def renewed(self, refused: str) -> bool:
        if self._later:
            self.token = self._later.pop(0)
        return self.token != refused


def credential(vendor: Vendor, url: str, model: str, *later: str, **fields: Any) -> Credential:
    """What is offered for an account whose vendor is at `url`: one model. later: its further tokens. fields: of its auth
    file."""
    fields = {"access_token": TOKEN, **fields}
    login = Login(str(fields.get("api_key") or fields[vendor.token_field]), fields, *later)
    return Credential(
        vendor.name,
        vendor.formats,
        vendor.base_url_of(fields, Place(url)).rstrip("/"),
        models=(OfferedModel(MODEL, model),),
        dialect=vendor.name,
        account=login,
    )


def sent(
    vendor: Vendor, body: Mapping[str, Any], format: Format = "openai-chat", *, url: str = "",
    session: str = "", headers: Mapping[str, str] | None = None, **fields: Any,
) -> tuple[str, Headers, Any]:  # fmt: skip
    """URL, headers and body that a body becomes on its way to the vendor. fields: of the account's auth file."""
    one = credential(vendor, url or vendor.base_url, "upstream-model", **fields)
    name = str(body.get("model", ""))
    stream = bool(body.get("stream"))
    call = UpstreamCall(
        Purpose.GENERATE, format, "POST", "", "", Headers(headers or {}), json.dumps(body).encode(), stream,
        session=session,
    )  # fmt: skip
    request = vendor.dialect.request(Candidate(one, name, ModelFacts(name)), call)
    assert isinstance(request.body, bytes)
    return request.url, request.headers, json.loads(request.body)


@asynccontextmanager
async def plain_transport() -> AsyncIterator[HttpTransport]:
    """To mocks on loopback."""
    # Nothing here speaks TLS; a context without authorities is made in no time.
    transport = HttpTransport(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), TimeLimits(5, 5, 5), "direct")
    try:
        yield transport
    finally:
        await transport.close()


def config_of(**options: Any) -> Config:
    """A config without the demo. options: of its top level, with `_` for `-`."""
    return parse_config(
        json.dumps({"demo": False, **{name.replace("_", "-"): options[name] for name in options}})
    ).config


@asynccontextmanager
async def gateway(*credentials: Credential, **options: Any) -> AsyncIterator[Gateway]:
    """A gateway over accounts. options: as of `config_of`."""
    async with plain_transport() as transport:
        yield Gateway(config_of(**options), transport, accounts=credentials)


@asynccontextmanager
async def clients(*credentials: Credential, **options: Any) -> AsyncIterator[Clients]:
    """Clients of a gateway over accounts. options: as of `config_of`."""
    async with gateway(*credentials, **options) as serving:
        found = Clients(serving, "sk-test-client")
        try:
            yield found
        finally:
            await found.http.aclose()


async def said(clients: Clients, format: Format) -> str:
    """The text of a whole answer to "hello"."""
    match format:
        case "openai-chat":
            messages: Any = [{"role": "user", "content": "hello"}]
            completion = await clients.openai.chat.completions.create(model=MODEL, messages=messages)
            return completion.choices[0].message.content or ""
        case "openai-responses":
            return (await clients.openai.responses.create(model=MODEL, input="hello")).output_text
        case "anthropic":
            turns: Any = [{"role": "user", "content": "hello"}]
            message: Any = await clients.anthropic.messages.create(model=MODEL, max_tokens=64, messages=turns)
            return message.content[0].text
        case "gemini":
            return (await clients.google.models.generate_content(model=MODEL, contents="hello")).text


async def confirmed(vendor: Vendor, upstream: Upstream) -> tuple[Prompt, Tokens]:
    """A device login whose authorization server is `upstream`: what the user is shown, and what comes of it."""
    assert vendor.registration
    registration = replace(vendor.registration, device_url=f"{upstream.url}/device", token_url=f"{upstream.url}/token")

    async def at_once(seconds: float) -> None:
        return

    async with http_client("direct") as http:
        flow = await begin_device(registration, http, time.time, at_once)
        return flow.prompt, await flow.tokens()


def answer(body: Any, status: int = 200) -> Answer:
    """JSON."""
    return Answer(status=status, headers={"content-type": "application/json"}, body=json.dumps(body).encode())


def refusal(status: int, message: str, kind: str = "invalid_request_error", **error: Any) -> Answer:
    """An error in OpenAI's envelope."""
    return answer({"error": {"message": message, "type": kind, **error}}, status)
