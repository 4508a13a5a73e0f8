"""Estimates what a request costs in input tokens, where no upstream counts it and no tokenizer is at hand."""

import base64
import binascii
import re
from collections.abc import Callable, Iterable

from cliproxy.wire import json
from cliproxy.wire.model import (
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    ServerCall,
    ServerResult,
    ServerTool,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)

Tokenize = Callable[[str], int]
"""How many tokens a text has."""

_PER_REQUEST = 3
_PER_TURN = 4
_PER_CALL = 8
_PER_TOOL = 10

_IMAGE_TOKENS = 1500
"""An image of unknown size: between a thumbnail and what vendors scale large ones down to."""
_PIXELS_PER_TOKEN = 750
_MAX_IMAGE_TOKENS = 1600
_BYTES_PER_PAGE = 50_000
_TOKENS_PER_PAGE = 1500
_AUDIO_BYTES_PER_TOKEN = 1000
_MEDIA_TOKENS = 1500


def count(request: Request, tokenize: Tokenize | None = None) -> int:
    """An estimate of the input tokens of `request`; texts are counted by `tokenize` where one is given."""
    measure = tokenize or estimate
    total = _PER_REQUEST + sum(_part_tokens(part, measure) for part in request.system)
    if request.system:
        total += _PER_TURN
    for turn in request.turns:
        total += _PER_TURN + sum(_part_tokens(part, measure) for part in turn.parts)
    total += sum(_tool_tokens(tool, measure) for tool in request.tools)
    if request.output is not None and request.output.schema is not None:
        total += measure(json.dumps_text(request.output.schema))
    return total


_PIECES = re.compile(
    r"(?P<word>[A-Za-z]+)"
    r"|(?P<digits>[0-9]+)"
    r"|(?P<space>[ \t]+|[\r\n]+)"
    r"|(?P<sign>[!-/:-@\[-`{-~]+)"
    r"|(?P<wide>[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]+)"
    r"|(?P<latin>[\u00a0-\u024f]+)"
    r"|(?P<other>.)",
    re.DOTALL,
)


def estimate(text: str) -> int:
    """Tokens of a text, by the kinds of its characters."""
    return -(-len(text) // 4)


def _part_tokens(part: Part, measure: Tokenize) -> int:
    match part:
        case Text(text) | Refusal(text) | Reasoning(text):
            return measure(text)
        case ToolCall():
            return _PER_CALL + measure(part.name) + measure(part.arguments)
        case ToolResult():
            return _PER_CALL + sum(_part_tokens(inner, measure) for inner in part.parts)
        case Media():
            return _media_tokens(part, measure)
        case Opaque(raw=raw):
            return measure(json.dumps_text(raw))
        case ServerCall():
            return _PER_CALL + measure(json.dumps_text(part.input))
        case ServerResult():
            return _PER_CALL + measure(json.dumps_text(part.raw or {}))


def _tool_tokens(tool: Tool | ServerTool, measure: Tokenize) -> int:
    if isinstance(tool, ServerTool):
        return _PER_TOOL
    tokens = _PER_TOOL + measure(tool.name) + measure(tool.description or "")
    for schema in (tool.schema, tool.grammar):
        if schema is not None:
            tokens += measure(json.dumps_text(schema))
    return tokens


def _media_tokens(media: Media, measure: Tokenize) -> int:
    if media.text is not None:
        return measure(media.text)
    return _MEDIA_TOKENS
