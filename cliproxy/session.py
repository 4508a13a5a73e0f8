"""Which conversation a request belongs to, by whatever its client says, else by how the conversation began."""

import hashlib
from typing import Any

import msgspec

from cliproxy.call import ClientCall
from cliproxy.exchange import ClientRequest
from cliproxy.wire import json
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import Refusal, Request, Text

_HEADERS_BEFORE_BODY = ("x-claude-code-session-id",)
_HEADERS = (
    "session-id",
    "session_id",
    "x-session-id",
    "x-session-affinity",
    "x-client-request-id",
    "thread-id",
)
_OPENING_CHARACTERS = 500


class _Said(msgspec.Struct):
    """The fields in which clients name a conversation."""

    metadata: Any = None
    session_id: Any = None
    sessionId: Any = None
    prompt_cache_key: Any = None
    conversation: Any = None
    conversation_id: Any = None


_said = msgspec.json.Decoder(_Said).decode


def session_of(request: ClientRequest, call: ClientCall) -> str:
    """The session's key.

    Order: the client's envelope, Claude Code's header, its metadata, other headers, body fields, the conversation's
    opening.
    """
    try:
        said = _said(call.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = _Said()
    headers = request.headers
    user = said.metadata.get("user_id") if isinstance(said.metadata, dict) else None
    named = [call.session, *(headers.get(name) for name in _HEADERS_BEFORE_BODY)]
    named.append(_claude_session(user))
    named += [headers.get(name) for name in _HEADERS]
    conversation = said.conversation.get("id") if isinstance(said.conversation, dict) else said.conversation
    named += [
        said.session_id,
        said.sessionId,
        said.prompt_cache_key,
        conversation,
        user,
        said.conversation_id,
    ]
    for value in named:
        if isinstance(value, str) and value:
            return value
    try:
        return _opening(call.request())
    except ClientFault:
        # What we cannot read is for the upstream to judge.
        return ""


def fingerprint(session: str) -> str:
    """What stands for a session where it is kept: clients name it by what may tell who they are. Empty stays empty."""
    return hashlib.blake2b(session.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest() if session else ""


def _claude_session(user: Any) -> str | None:
    """The session inside Claude Code's `metadata.user_id`: a JSON object, or `user_…_session_UUID`."""
    if not isinstance(user, str):
        return None
    if user.startswith("{"):
        try:
            value = json.loads(user)
        except ValueError:
            return None
        session = value.get("session_id") if isinstance(value, dict) else None
        return session if isinstance(session, str) else None
    _, found, session = user.rpartition("_session_")
    return session if found else None


def _opening(request: Request) -> str:
    """A hash of system prompt and first user text: the same for every turn of a conversation."""
    texts = [part.text for part in request.system if isinstance(part, Text)]
    first = next((turn for turn in request.turns if turn.role == "user"), None)
    if first:
        texts += [part.text for part in first.parts if isinstance(part, Text | Refusal)]
    if not texts:
        return ""
    opening = "\0".join(text[:_OPENING_CHARACTERS] for text in texts)
    return hashlib.sha256(opening.encode("utf-8", "surrogatepass")).hexdigest()[:16]
