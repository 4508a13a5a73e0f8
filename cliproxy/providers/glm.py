"""GLM: Zhipu's models, at bigmodel.cn and, for the rest of the world, at z.ai.

One key opens both formats, each under an address of its own; the Coding Plan has another one for chat. Source: the
platforms' documentation.
"""

import re
from typing import override

import httpx

from cliproxy.credentials.record import Candidate, Credential
from cliproxy.credentials.timestamps import seconds_of
from cliproxy.exchange import Headers
from cliproxy.oauth.endpoint import number
from cliproxy.oauth.errors import EndpointTrouble
from cliproxy.providers.call import UpstreamCall
from cliproxy.providers.compatible import CompatibleDialect, RefusalReader, file_stem, name_system, wants_thinking
from cliproxy.providers.dialect import AnswerReader
from cliproxy.providers.queries import ask
from cliproxy.providers.vendor import Fields, Place, Quota, Vendor, Window
from cliproxy.wire.fields import object_of, objects_of, text_of
from cliproxy.wire.model import Format, Json

_ADDRESS = re.compile(r"(?P<root>.*?)(?P<coding>/coding)?(/paas/v4|/anthropic)?/?")
"""Whatever of the documented addresses a user has: `…/api`, `…/api/coding/paas/v4`, `…/api/anthropic`."""
_STATUSES = {"1000": 401, "1001": 401, "1002": 401, "1003": 401, "1004": 401}
"""GLM's numbers of refusals that it sends with status 200."""
_SPANS = {3: "{}h", 5: "monthly", 6: "weekly"}
"""By the number of a quota's unit; `{}`: how many of it."""


class Glm(CompatibleDialect):
    """Zhipu's and z.ai's upstream."""

    @override
    def url(self, credential: Credential, format_: Format) -> str:
        root, coding = _parts(credential.base_url)
        return f"{root}/anthropic/v1/messages" if format_ == "anthropic" else f"{root}{coding}/paas/v4/chat/completions"

    @override
    def add_headers(self, headers: Headers, candidate: Candidate, call: UpstreamCall) -> None:
        headers["Accept-Encoding"] = "identity"

    @override
    def edit(self, body: Json, candidate: Candidate, call: UpstreamCall) -> None:
        name_system(body)
        limit = body.pop("max_completion_tokens", None)
        if limit is not None:
            body.setdefault("max_tokens", limit)
        wanted = wants_thinking(body)
        if wanted is not None and "thinking" not in body:
            body["thinking"] = {"type": "enabled" if wanted else "disabled"}
        if not wanted:
            body.pop("reasoning_effort", None)
        # There is no other word than `auto`.
        choice = body.pop("tool_choice", "auto")
        if choice == "none":
            body.pop("tools", None)
        elif choice != "auto":
            call.drop("tool_choice: GLM chooses by itself")

    @override
    def reader(self, candidate: Candidate, call: UpstreamCall, headers: Headers) -> AnswerReader | None:
        return RefusalReader.of(headers, _STATUSES)


def _parts(base_url: str) -> tuple[str, str]:
    """The address that all others begin with, and `/coding` for the Coding Plan's."""
    found = _ADDRESS.fullmatch(base_url)
    assert found
    root = found["root"]
    # The hosts alone answer with web pages.
    return root if "/" in root.partition("://")[2] else f"{root}/api", found["coding"] or ""


async def _quota(fields: Fields, place: Place, http: httpx.AsyncClient) -> Quota:
    """The windows of a Coding Plan; none for other keys. Raises EndpointTrouble."""
    root, _ = _parts(str(fields.get("base_url") or place.base_url))
    url = place.quota_url or f"{root}/monitor/usage/quota/limit"
    answer = await ask(http, url, str(fields.get("api_key") or ""))
    if answer is None or answer.get("success") is False:
        raise EndpointTrouble("GLM tells no usage for this key: it belongs to no Coding Plan")
    data = object_of(answer, "data")
    return Quota(text_of(data, "level"), tuple(map(_window, objects_of(data, "limits"))))


def _window(limit: Json) -> Window:
    name = _SPANS.get(int(number(limit.get("unit")) or 0), "limit").format(int(number(limit.get("number")) or 1))
    percent = number(limit.get("percentage"))
    if limit.get("type") == "TIME_LIMIT":
        name = f"tools {name}"
    return Window(name, None if percent is None else percent / 100, seconds_of(limit.get("nextResetTime")))


VENDOR = Vendor(
    "glm",
    "GLM",
    ("openai-chat", "anthropic"),
    Glm(),
    "https://open.bigmodel.cn/api",
    flows=("api-key",),
    file_stem=file_stem,
    quota=_quota,
)
