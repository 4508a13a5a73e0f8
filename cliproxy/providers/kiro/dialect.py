"""How the service is called: the Anthropic format in front of it, its own shapes behind."""

from typing import override

from cliproxy.agent import USER_AGENT
from cliproxy.credentials.record import Candidate
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.providers.call import Purpose, UpstreamCall, join
from cliproxy.providers.dialect import AnswerReader, Dialect
from cliproxy.providers.kiro.account import is_builder_id, is_cli, is_external, profile_arn, runtime_region
from cliproxy.providers.kiro.answer import CONTENT_TYPE, KiroAnswer
from cliproxy.providers.kiro.conversation import encode_request
from cliproxy.providers.vendor import Fields
from cliproxy.wire import json
from cliproxy.wire.anthropic import decode_request
from cliproxy.wire.model import Request

_UNSAID = ("temperature", "top_p", "top_k", "stop_sequences", "tool_choice")
_TARGET = "AmazonCodeWhispererStreamingService.GenerateAssistantResponse"


class Kiro(Dialect):
    """`GenerateAssistantResponse` of CodeWhisperer, now Amazon Q Developer."""

    purposes = frozenset({Purpose.GENERATE})
    token_refusals = frozenset({401, 403})
    """403 says "The bearer token included in the request is invalid" of one that has expired."""

    @override
    def request(self, candidate: Candidate, call: UpstreamCall) -> UpstreamRequest:
        """Nothing of the client's headers goes along: they are meant for another vendor's API."""
        account = candidate.credential.account
        fields: Fields = account.fields if account else {}
        cli = is_cli(fields)
        headers = Headers(
            {
                "Authorization": f"Bearer {candidate.credential.bearer}",
                "Content-Type": "application/x-amz-json-1.0" if cli else "application/json",
                "Accept": CONTENT_TYPE,
                "Accept-Encoding": "identity",
                "User-Agent": USER_AGENT,
            }
        )
        if cli:
            headers["X-Amz-Target"] = _TARGET
        if is_external(fields):
            headers["TokenType"] = "EXTERNAL_IDP"
        request = _decoded(candidate, call)
        for name in _UNSAID:
            if request.raw.get(name) not in (None, {"type": "auto"}):
                call.drop(f"{name}: Kiro has no place for it")
        body = encode_request(
            request,
            candidate.facts,
            origin="CLI" if cli else "AI_EDITOR",
            profile_arn=profile_arn(fields),
            session=call.session,
            # Its models refuse the field, those of other accounts take it.
            settable=not is_builder_id(fields),
        )
        # Not before: the account's region may be found out by its first call.
        base_url = candidate.credential.base_url.replace("{region}", runtime_region(fields))
        url = join(base_url, "/" if cli else "/generateAssistantResponse")
        return UpstreamRequest("POST", url, headers, json.dumps(body))

    @override
    def reader(self, candidate: Candidate, call: UpstreamCall, headers: Headers) -> AnswerReader | None:
        if CONTENT_TYPE not in headers.get("content-type", CONTENT_TYPE):
            return None
        return KiroAnswer(_decoded(candidate, call), stream=call.stream)


def _decoded(candidate: Candidate, call: UpstreamCall) -> Request:
    assert isinstance(call.body, bytes)
    return decode_request(json.loads_object(call.body, "the body"), model=candidate.model, stream=call.stream)
