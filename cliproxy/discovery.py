"""Asks upstreams what they offer: the lists that their APIs have, read into what `cliproxy.routing.found` keeps.

Some upstreams have none, or have one only for the vendor's own tool, which must say its version to be answered: of
these the program knows what its data file says.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

from cliproxy.agent import USER_AGENT
from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.providers import dialect_of, prepare
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.providers.cloud_code import project_of
from cliproxy.providers.compatible import CompatibleDialect
from cliproxy.routing.found import FoundList, FoundModel
from cliproxy.transport.client import HttpTransport
from cliproxy.transport.encoding import decompress
from cliproxy.wire import json
from cliproxy.wire.errors import GatewayError, UpstreamGarbled, UpstreamRefused
from cliproxy.wire.fields import integer_of, object_of, objects_of, text_of
from cliproxy.wire.model import Json, ModelFacts

MAX_LIST_BYTES = 16 * 1024 * 1024
MAX_PAGES = 50
PAGE_MODELS = 1000

_WITHOUT_A_LIST = frozenset({"aistudio", "codex", "gemini-cli", "kiro", "vertex"})
"""Vendors whose own way of being called has no list for others than their tools."""

_CONTEXT = ("context_length", "context_window", "max_context_length", "max_model_len", "context_size")
_OUTPUT = ("max_completion_tokens", "max_output_tokens", "max_output_length", "max_tokens")
"""What OpenAI-compatible upstreams call the limits, which OpenAI itself does not tell."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """What came of asking one upstream."""

    provider: str
    found: FoundList | None
    trouble: str = ""
    """Why there is no list; empty where there is one."""


async def discover(
    credentials: Iterable[Credential], transport: HttpTransport, clock: Callable[[], float] = time.time
) -> list[Discovery]:
    """Ask each upstream that has a list, once, whichever of its credentials it takes. In the order of the credentials.

    clock: UTC epoch seconds.
    """
    upstreams: dict[tuple[str, str, str], list[Credential]] = {}
    for credential in credentials:
        if _has_list(credential):
            upstreams.setdefault(_upstream(credential), []).append(credential)
    asked = (_ask_any(same, transport, clock) for same in upstreams.values())
    return await asyncio.gather(*asked)


def _has_list(credential: Credential) -> bool:
    return credential.provider != "demo" and credential.dialect not in _WITHOUT_A_LIST


def _upstream(credential: Credential) -> tuple[str, str, str]:
    """Provider, address and plan, as `FoundList` names them."""
    if credential.account is None:
        return credential.provider, credential.base_url, ""
    return credential.provider, "", str(credential.account.fields.get("plan_type") or "")


async def _ask_any(
    credentials: Sequence[Credential], transport: HttpTransport, clock: Callable[[], float]
) -> Discovery:
    provider, base_url, plan = _upstream(credentials[0])
    trouble = ""
    for credential in credentials:
        try:
            models = await _Listing(credential, transport).models()
        except GatewayError as error:
            trouble = error.message
        else:
            return Discovery(provider, FoundList(provider, models, base_url, plan, clock()))
    return Discovery(provider, None, trouble)


Kind = Literal["antigravity", "beside", "anthropic", "gemini", "openai"]
"""Whose list it is. `beside`: OpenAI's, at a vendor whose dialect knows only where answers are."""


class _Listing:
    """One upstream's list, page by page."""

    def __init__(self, credential: Credential, transport: HttpTransport) -> None:
        self._credential = credential
        self._transport = transport
        self._dialect = dialect_of(credential, credential.formats[0])
        self._kind: Kind = self._kind_of()

    def _kind_of(self) -> Kind:
        if self._credential.dialect == "antigravity":
            return "antigravity"
        if isinstance(self._dialect, CompatibleDialect):
            return "beside"
        match self._credential.formats[0]:
            case "anthropic":
                return "anthropic"
            case "gemini":
                return "gemini"
            case _:
                return "openai"

    async def models(self) -> tuple[FoundModel, ...]:
        """Raises GatewayError."""
        account = self._credential.account
        if account:
            await account.ready()
        found: dict[str, FoundModel] = {}
        after = ""
        for _ in range(MAX_PAGES):
            page = await self._page(after)
            found.update((model.name, model) for model in _READERS[self._kind](page))
            after = _next(page)
            if not after:
                break
        if not found:
            # An upstream that answers has a model: this is no list.
            raise UpstreamGarbled("the upstream's list of models is empty")
        return tuple(found.values())

    async def _page(self, after: str) -> Json:
        account = self._credential.account
        token = account.token if account else ""
        response = await self._transport.send(self._request(after))
        if account and response.status in self._dialect.token_refusals and await account.renewed(token):
            response.close()
            response = await self._transport.send(self._request(after))
        body = await response.read(MAX_LIST_BYTES)
        if response.status != 200:
            raise UpstreamRefused(f"the upstream answered {response.status}", status=response.status)
        try:
            return json.loads_object(decompress(body, response.headers.get("content-encoding", "")), "the list")
        except ValueError:
            raise UpstreamGarbled("the upstream's list of models is not a JSON object") from None

    def _request(self, after: str) -> UpstreamRequest:
        match self._kind:
            case "antigravity":
                return self._prepared(
                    "POST", "/v1internal:fetchAvailableModels", body=json.dumps(project_of(self._candidate))
                )
            case "beside":
                call = UpstreamCall(Purpose.GENERATE, "openai-chat", "GET", "", "", _headers(), b"{}")
                request = prepare(self._candidate, call, Headers())
                request.url = f"{request.url.removesuffix('/chat/completions')}/models"
                request.body = None
                return request
            case "anthropic":
                return self._prepared("GET", "/v1/models", {"limit": PAGE_MODELS, "after_id": after})
            case "gemini":
                return self._prepared("GET", "/v1beta/models", {"pageSize": PAGE_MODELS, "pageToken": after})
            case "openai":
                return self._prepared("GET", "/v1/models")

    def _prepared(
        self, method: str, path: str, query: Mapping[str, Any] | None = None, body: bytes | None = None
    ) -> UpstreamRequest:
        headers = _headers()
        if body is not None:
            headers["Content-Type"] = "application/json"
        said = urlencode({name: value for name, value in (query or {}).items() if value})
        call = UpstreamCall(Purpose.NATIVE, self._credential.formats[0], method, path, said, headers, body)
        return prepare(self._candidate, call, Headers())

    @property
    def _candidate(self) -> Candidate:
        return Candidate(self._credential, "", ModelFacts(""))


def _headers() -> Headers:
    return Headers({"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": USER_AGENT})


def _next(page: Json) -> str:
    """Where the next page begins; empty after the last."""
    return text_of(page, "nextPageToken") or (text_of(page, "last_id") if page.get("has_more") is True else "")


def _openai(page: Json) -> Iterator[FoundModel]:
    for entry in objects_of(page, "data"):
        if name := text_of(entry, "id"):
            # OpenRouter's words for what is not in OpenAI's list.
            served, build = object_of(entry, "top_provider"), object_of(entry, "architecture")
            yield FoundModel(
                name,
                text_of(entry, "display_name") or text_of(entry, "name"),
                _limit(entry, _CONTEXT),
                _limit(entry, _OUTPUT) or _limit(served, _OUTPUT),
                _modalities(entry.get("input_modalities") or build.get("input_modalities")),
            )


def _anthropic(page: Json) -> Iterator[FoundModel]:
    for entry in objects_of(page, "data"):
        if name := text_of(entry, "id"):
            context, output = integer_of(entry, "max_input_tokens"), integer_of(entry, "max_tokens")
            yield FoundModel(name, text_of(entry, "display_name"), context or None, output or None)


def _gemini(page: Json) -> Iterator[FoundModel]:
    for entry in objects_of(page, "models"):
        if name := text_of(entry, "name").removeprefix("models/"):
            thinks = entry.get("thinking")
            yield FoundModel(
                name,
                text_of(entry, "displayName"),
                integer_of(entry, "inputTokenLimit") or None,
                integer_of(entry, "outputTokenLimit") or None,
                thinks=thinks if isinstance(thinks, bool) else None,
            )


def _antigravity(page: Json) -> Iterator[FoundModel]:
    for name, entry in object_of(page, "models").items():
        # Models without a name for people are the tool's own: completion, chat titles and the like.
        if isinstance(entry, dict) and text_of(entry, "displayName"):
            thinks = entry.get("supportsThinking")
            yield FoundModel(
                name,
                text_of(entry, "displayName"),
                integer_of(entry, "maxTokens") or None,
                integer_of(entry, "maxOutputTokens") or None,
                thinks=thinks if isinstance(thinks, bool) else None,
            )


def _limit(entry: Json, names: Sequence[str]) -> int | None:
    return next((value for name in names if isinstance(value := entry.get(name), int) and value > 0), None)


def _modalities(value: object) -> tuple[str, ...] | None:
    """OpenRouter calls documents files."""
    if not isinstance(value, list):
        return None
    return tuple("document" if kind == "file" else kind for kind in value if isinstance(kind, str)) or None


_READERS: dict[Kind, Callable[[Json], Iterator[FoundModel]]] = {
    "antigravity": _antigravity,
    "beside": _openai,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "openai": _openai,
}
