"""Vendors whose upstreams speak OpenAI's and Anthropic's formats, but for some words: the frame of their dialects, and
what more than one of them needs.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from typing import override

from cliproxy.agent import USER_AGENT
from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import Headers, UpstreamRequest
from cliproxy.providers.call import Purpose, UpstreamCall
from cliproxy.providers.claude import API_VERSION
from cliproxy.providers.dialect import Dialect
from cliproxy.providers.vendor import Fields
from cliproxy.wire import json
from cliproxy.wire.errors import UpstreamRefused
from cliproxy.wire.fields import objects_of
from cliproxy.wire.model import Format, Json


class CompatibleDialect(Dialect):
    """Takes a bearer token, and bodies with some edits. It is asked for answers only."""

    purposes = frozenset({Purpose.GENERATE})
    edited: frozenset[Format] = frozenset({"openai-chat"})
    """Formats whose bodies are edited; those of others keep their bytes."""

    @abstractmethod
    def url(self, credential: Credential, format_: Format) -> str:
        """Where a request of a format goes."""

    @abstractmethod
    def edit(self, body: Json, candidate: Candidate, call: UpstreamCall) -> None:
        """Say in a body what the vendor wants said otherwise."""

    def add_headers(self, headers: Headers, candidate: Candidate, call: UpstreamCall) -> None:
        """Add what the vendor wants beside the token."""

    @override
    def request(self, candidate: Candidate, call: UpstreamCall) -> UpstreamRequest:
        credential = candidate.credential
        headers = call.headers.copy()
        if call.format == "anthropic":
            headers.setdefault("anthropic-version", API_VERSION)
        headers.setdefault("User-Agent", USER_AGENT)
        if credential.bearer:
            headers["Authorization"] = f"Bearer {credential.bearer}"
        self.add_headers(headers, candidate, call)
        body = call.body
        if call.format in self.edited:
            assert isinstance(body, bytes)
            edited = json.loads_object(body, "the body")
            self.edit(edited, candidate, call)
            body = json.dumps(edited)
        url = self.url(credential, call.format)
        return UpstreamRequest(call.method, f"{url}?{call.query}" if call.query else url, headers, body)


# ---------------------------------------------------------------- edits of chat bodies


def ask_for_usage(body: Json) -> None:
    """Have a stream end with its usage."""
    if body.get("stream"):
        options = body.get("stream_options")
        body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}


def drop_empty_tools(body: Json) -> None:
    """Leave out a list of no tools, which strict servers refuse."""
    if body.get("tools") == []:
        del body["tools"]
        body.pop("tool_choice", None)


def name_system(body: Json) -> None:
    """OpenAI's newer word for the role `system` is unknown elsewhere."""
    for message in objects_of(body, "messages"):
        if message.get("role") == "developer":
            message["role"] = "system"


def wants_thinking(body: Json) -> bool | None:
    """Whether the model shall think, by OpenAI's word for it; None where that is not said."""
    effort = body.get("reasoning_effort")
    return effort != "none" if effort else None


# ---------------------------------------------------------------- refusals with status 200


class RefusalReader:
    """Tells a refusal that is sent as if it were an answer, a JSON object with `msg`: raises UpstreamRefused for it."""

    content_type = "application/json"

    def __init__(self, statuses: Mapping[str, int]) -> None:
        """statuses: what the vendor's own numbers mean in HTTP; numbers that are none of HTTP's either mean 502."""
        self._statuses = statuses
        self._held = bytearray()

    @classmethod
    def of(cls, headers: Headers, statuses: Mapping[str, int]) -> "RefusalReader | None":
        """A reader for an answer with these headers; None for event streams, which say their errors in events."""
        is_json = headers.get("content-type", "").startswith(cls.content_type)
        return cls(statuses) if is_json and "content-encoding" not in headers else None

    def feed(self, data: bytes) -> bytes:
        self._held += data
        return b""

    def finish(self) -> bytes:
        body = bytes(self._held)
        try:
            answer = json.loads_object(body, "the answer")
        except ValueError:
            return body
        message = answer.get("msg")
        if isinstance(message, str) and "choices" not in answer:
            number = str(answer.get("status") or answer.get("error_code") or answer.get("code") or "")
            own = int(number) if number.isdecimal() and 400 <= int(number) <= 599 else 502
            raise UpstreamRefused(message, status=self._statuses.get(number, own), code=number or None, body=body)
        return body


# ---------------------------------------------------------------- accounts


def file_stem(fields: Fields) -> str:
    """The account's e-mail address, else some digits that stand for its secret."""
    if email := fields.get("email"):
        return str(email)
    secret = fields.get("api_key") or fields.get("refresh_token") or fields.get("access_token") or ""
    return hashlib.sha256(str(secret).encode()).hexdigest()[:8]
