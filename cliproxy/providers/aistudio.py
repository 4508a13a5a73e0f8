"""Google AI Studio, through a page that the user has open in a browser: the page makes the calls with the user's login.

How calls reach the page is `cliproxy.sockets.relay`'s; here is what the page can be asked.
"""

from typing import override

from cliproxy.credentials.from_config import GEMINI_URL
from cliproxy.credentials.record import Candidate
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.providers import gemini
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.providers.dialect import AnswerReader, Dialect
from cliproxy.providers.gemini_answers import Reframing, wanted_framing
from cliproxy.providers.vendor import Vendor
from cliproxy.wire import json
from cliproxy.wire.fields import object_of, text_of
from cliproxy.wire.gemini.camel_case import camel_case
from cliproxy.wire.model import Json

_REFUSED = frozenset({"maxOutputTokens", "responseMimeType", "responseJsonSchema"})
"""Settings that a page's calls may not have."""


class AiStudio(Dialect):
    """The Gemini API, less what pages refuse. The browser adds the headers, the login among them."""

    purposes = frozenset({Purpose.GENERATE, Purpose.COUNT_TOKENS})

    @override
    def request(self, candidate: Candidate, call: UpstreamCall) -> UpstreamRequest:
        url, _ = gemini.address(candidate.credential, candidate.model, call)
        if wanted_framing(call) == "array":
            # One framing of streams is enough for a page.
            url = f"{url.partition('?')[0]}?alt=sse"
        assert isinstance(call.body, bytes)
        body = json.dumps(_allowed(camel_case(json.loads_object(call.body, "the body"))))
        return UpstreamRequest(call.method, url, Headers({"Content-Type": "application/json"}), body)

    @override
    def reader(self, candidate: Candidate, call: UpstreamCall, headers: Headers) -> AnswerReader | None:
        return Reframing("array", lambda answer: answer) if wanted_framing(call) == "array" else None


def _allowed(body: Json) -> Json:
    if "generationConfig" not in body:
        return body
    settings = camel_case(object_of(body, "generationConfig"))
    settings = {name: value for name, value in settings.items() if name not in _REFUSED}
    if thinking := camel_case(object_of(settings, "thinkingConfig")):
        if level := text_of(thinking, "thinkingLevel"):
            # Elsewhere its case does not matter.
            thinking["thinkingLevel"] = level.upper()
        settings["thinkingConfig"] = thinking
    return {**body, "generationConfig": settings}


VENDOR = Vendor(
    name="aistudio", title="Google AI Studio (a page in the browser)", formats=("gemini",), dialect=AiStudio(),
    base_url=GEMINI_URL,
)  # fmt: skip
