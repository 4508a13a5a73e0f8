"""Contentviews: an exchange's bodies as a conversation, as a time line, and as what the gateway changed.

What they show is made by `cliproxy.inspection`; here is which flow wants which, and where its facts are.
"""

import asyncio
import re
from functools import lru_cache
from typing import Any, Literal, override

from mitmproxy import contentviews, ctx, http
from mitmproxy.addons.view import View
from mitmproxy.contentviews import Contentview, Metadata
from mitmproxy.utils import asyncio_utils

from addons.attempt_flow import AttemptFlow
from addons.labels import ATTEMPT, DROPPED, FORMAT, PROVIDER, UPSTREAM_MODEL
from addons.streamed_body import ARRIVALS, LEFT_OUT
from cliproxy.inspection.body import format_of
from cliproxy.inspection.changes import Sent, changes_text
from cliproxy.inspection.conversation import Answered, answer_text, request_text
from cliproxy.inspection.timeline import timeline_text
from cliproxy.usage import prices
from cliproxy.wire.model import FORMATS, Format

_NEVER, _OTHERWISE, _FIRST = -1.0, 1.5, 3.0
"""Priorities; mitmproxy's own views of JSON have 1."""
_TORN = "# The beginning of this compressed answer is not kept, and without it the rest cannot be unpacked."
_PATH_MODEL = re.compile(r"/models/([^/:?]+):")

# Asked for its priority, and then for its text: the second time it is there already.
_request_text = lru_cache(maxsize=4)(request_text)
_answer_text = lru_cache(maxsize=4)(answer_text)


class Views:
    """Registers the views."""

    name = "cliproxy.views"

    def load(self, loader: object) -> None:
        for view in (Conversation(), TimeLine(), Changes()):
            contentviews.add(view)

    def running(self) -> None:
        if "view" in ctx.master.addons.lookup:
            # The table of prices takes a moment to load, in which nobody should have to wait.
            asyncio_utils.create_task(asyncio.to_thread(prices.warm_up), name="load the prices", keep_ref=True)


class Conversation(Contentview):
    """Who said what: turns, tool calls and results, reasoning, usage and cost."""

    @property
    @override
    def syntax_highlight(self) -> Literal["yaml"]:
        return "yaml"

    @override
    def prettify(self, data: bytes, metadata: Metadata) -> str:
        text = _conversation(data, metadata)
        return text if text is not None else "# This is no request or answer of a format that is known here."

    @override
    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        return _FIRST if data and _conversation(data, metadata) is not None else _NEVER


class TimeLine(Contentview):
    """When each event of a streamed answer came."""

    @property
    @override
    def name(self) -> str:
        return "Time line"

    @override
    def prettify(self, data: bytes, metadata: Metadata) -> str:
        facts = metadata.flow.metadata if metadata.flow else {}
        if _is_torn(metadata):
            return _TORN
        # The slices that came were compressed, and say nothing of where events ended.
        arrivals = () if _is_encoded(metadata) else facts.get(ARRIVALS, ())
        text = timeline_text(data, arrivals, facts.get(LEFT_OUT, 0))
        return text if text is not None else "This is no stream of events."

    @override
    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        # Of streams that are no conversation; the others can be looked at this way, too.
        is_stream = metadata.content_type == "text/event-stream" and data
        return _OTHERWISE if is_stream else _NEVER


class Changes(Contentview):
    """What the gateway changed between the client's request and the attempt's."""

    @property
    @override
    def syntax_highlight(self) -> Literal["yaml"]:
        return "yaml"

    @override
    def prettify(self, data: bytes, metadata: Metadata) -> str:
        flow = metadata.flow
        if not isinstance(flow, http.HTTPFlow) or ATTEMPT not in flow.metadata:
            return "# This is no attempt of the gateway's: look at one of those."
        client_flow = _client_flow_of(flow)
        if client_flow is None:
            return "# The client's flow is not here any more."
        return changes_text(_sent(client_flow), _sent(flow), flow.metadata.get(DROPPED, ()))

    @override
    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        flow = metadata.flow
        if not isinstance(flow, http.HTTPFlow) or metadata.http_message is not flow.request:
            return _NEVER
        is_attempt = bool(data) and ATTEMPT in flow.metadata and _client_flow_of(flow) is not None
        return 2 * _FIRST if is_attempt else _NEVER


def _conversation(data: bytes, metadata: Metadata) -> str | None:
    flow = metadata.flow
    if not isinstance(flow, http.HTTPFlow):
        return None
    format_ = _format_of(flow)
    if message := metadata.websocket_message:
        return _request_text(format_ or "openai-responses", data) if message.from_client else None
    if format_ is None:
        return None
    if metadata.http_message is flow.request:
        return _request_text(format_, data, _path_model(flow))
    if _is_torn(metadata):
        return _TORN
    return _answer_text(format_, data, _answered(flow, metadata.content_type))


def _is_encoded(metadata: Metadata) -> bool:
    return metadata.http_message is not None and "content-encoding" in metadata.http_message.headers


def _is_torn(metadata: Metadata) -> bool:
    flow = metadata.flow
    if not isinstance(flow, http.HTTPFlow) or metadata.http_message is not flow.response:
        return False
    return _is_encoded(metadata) and LEFT_OUT in flow.metadata


def _format_of(flow: http.HTTPFlow) -> Format | None:
    noted: Any = flow.metadata.get(FORMAT)
    return noted if noted in FORMATS else format_of(flow.request.path)


def _answered(flow: http.HTTPFlow, content_type: str | None) -> Answered:
    facts = flow.metadata
    response = flow.response
    return Answered(
        status=response.status_code if response else 200,
        content_type=content_type,
        provider=facts.get(PROVIDER, ""),
        model=facts.get(UPSTREAM_MODEL, ""),
        left_out_bytes=facts.get(LEFT_OUT, 0),
        is_complete=not flow.live or bool(response and response.timestamp_end),
    )


def _sent(flow: http.HTTPFlow) -> Sent:
    request = flow.request
    headers = [(name, value) for name, value in request.headers.items(multi=True)]
    body = request.get_content(strict=False) or b""
    return Sent(request.method, request.url, headers, body, _format_of(flow), _path_model(flow))


def _path_model(flow: http.HTTPFlow) -> str:
    found = _PATH_MODEL.search(flow.request.path)
    return found[1] if found else ""


def _client_flow_of(flow: http.HTTPFlow) -> http.HTTPFlow | None:
    """The client's flow of an attempt; flows that were read from a file find each other by id."""
    if isinstance(flow, AttemptFlow) and flow.client_flow:
        return flow.client_flow
    view = ctx.master.addons.get("view")
    found = view.get_by_id(flow.metadata[ATTEMPT]) if isinstance(view, View) else None
    return found if isinstance(found, http.HTTPFlow) else None
