"""Counts what a request costs in input tokens, where its upstream does not: with a tokenizer or an estimate.

The estimate weighs the kinds of characters; the weights were fitted to `o200k_base` on source code, JSON,
prose and translations into forty languages, where it is off by 9 % in the mean of texts of 2,500 characters.
Han and Kana weigh a little less than in those translations, which are full of rare words.
"""

import re
from collections.abc import Callable, Iterable

from cliproxy.wire import json, media
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

_REQUEST_TOKENS = 3
_TURN_TOKENS = 4
_CALL_TOKENS = 8
_TOOL_TOKENS = 10
"""What the vendors' chat templates put around each."""

_PIXELS_PER_TOKEN = 750
_MAX_IMAGE_SIDE_PIXELS = 1568
_UNKNOWN_IMAGE_TOKENS = 1600
"""Anthropic's rule, the one of the four whose result depends on nothing but the size."""

_PAGE_BYTES = 50_000
_PAGE_TOKENS = 1500
_TOKENS_PER_KILOBYTE = {"audio": 2, "video": 2}
_UNKNOWN_MEDIA_TOKENS = 1500


def count(request: Request, tokenize: Tokenize | None = None) -> int:
    """The input tokens of `request`: texts as `tokenize` counts them, or as `estimate` does without one."""
    measure = tokenize or estimate
    tokens = _REQUEST_TOKENS + sum(_turn_tokens(turn.parts, measure) for turn in request.turns)
    if request.system:
        tokens += _turn_tokens(request.system, measure)
    tokens += sum(_tool_tokens(tool, measure) for tool in request.tools)
    if request.output is not None and request.output.schema is not None:
        tokens += measure(json.dumps_text(request.output.schema))
    return tokens


# ---------------------------------------------------------------- text

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS = b"0123456789"
_SIGNS = b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_BLANKS = b" \t"
_ONLY_DIGITS = bytes(char if char in _DIGITS else 32 for char in range(256))

_WEIGHTS = ((_LETTERS, 0.234), (_DIGITS, 0.259), (_SIGNS, 0.251), (_BLANKS, 0.09), (b"\n", 1.577))
"""Tokens a character, for ASCII."""
_DIGIT_RUN_WEIGHT = 1.568

_ASCII = re.compile("[\0-\x7f]+")
_SCRIPTS = (
    (re.compile("[\u0080-\u024f\u1e00-\u1eff]"), 0.909),  # Latin with marks: each breaks its word
    (re.compile("[\u0370-\u03ff]"), 0.4),  # Greek
    (re.compile("[\u0400-\u052f]"), 0.329),  # Cyrillic
    (re.compile("[\u0590-\u07ff]"), 0.388),  # Hebrew, Arabic
    (re.compile("[\u0900-\u0dff]"), 0.416),  # Indic
    (re.compile("[\u0e00-\u0fff]"), 0.434),  # Thai, Lao, Tibetan
    (re.compile("[\u0530-\u058f\u10a0-\u10ff]"), 0.381),  # Armenian, Georgian
    (re.compile("[\u1100-\u11ff\uac00-\ud7af]"), 0.731),  # Hangul
    (re.compile("[\u3040-\u30ff]"), 0.6),  # Kana
    (re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"), 0.75),  # Han
)
"""Tokens a character, for the rest."""
_OTHER_WEIGHT = 1.408


def estimate(text: str) -> int:
    """Tokens of a text, by the kinds of its characters."""
    if not text:
        return 0
    data = text.encode("ascii", "ignore")
    tokens = sum((len(data) - len(data.translate(None, chars))) * weight for chars, weight in _WEIGHTS)
    tokens += len(data.translate(_ONLY_DIGITS).split()) * _DIGIT_RUN_WEIGHT
    if len(data) < len(text):
        rest = _ASCII.sub("", text)
        others = len(rest)
        for script, weight in _SCRIPTS:
            found = len(script.findall(rest))
            tokens += found * weight
            others -= found
        tokens += others * _OTHER_WEIGHT
    return max(1, round(tokens))


# ---------------------------------------------------------------- parts


def _turn_tokens(parts: Iterable[Part], measure: Tokenize) -> int:
    return _TURN_TOKENS + sum(_part_tokens(part, measure) for part in parts)


def _part_tokens(part: Part, measure: Tokenize) -> int:
    match part:
        case Text(text) | Refusal(text) | Reasoning(text):
            return measure(text)
        case ToolCall():
            return _CALL_TOKENS + measure(part.name) + measure(part.arguments)
        case ToolResult():
            return _CALL_TOKENS + sum(_part_tokens(inner, measure) for inner in part.parts)
        case Media():
            return _media_tokens(part, measure)
        case ServerCall():
            return _CALL_TOKENS + measure(part.name) + measure(json.dumps_text(part.input))
        case ServerResult() | Opaque():
            return _CALL_TOKENS + measure(json.dumps_text(part.raw))


def _tool_tokens(tool: Tool | ServerTool, measure: Tokenize) -> int:
    if isinstance(tool, ServerTool):
        return _TOOL_TOKENS + measure(json.dumps_text(tool.raw))
    tokens = _TOOL_TOKENS + measure(tool.name) + measure(tool.description or "")
    for part in (tool.schema, tool.grammar):
        if part is not None:
            tokens += measure(json.dumps_text(part))
    return tokens


def _media_tokens(item: Media, measure: Tokenize) -> int:
    if item.text is not None:
        return measure(item.text)
    if item.kind == "image":
        return _image_tokens(media.image_size(item.data or ""))
    if item.data is None:
        return _UNKNOWN_MEDIA_TOKENS
    size_bytes = len(item.data) * 3 // 4
    if item.kind == "document":
        return _PAGE_TOKENS * (1 + size_bytes // _PAGE_BYTES)
    return _TOKENS_PER_KILOBYTE[item.kind] * (1 + size_bytes // 1000)


def _image_tokens(size: tuple[int, int] | None) -> int:
    if size is None:
        return _UNKNOWN_IMAGE_TOKENS
    scale = min(1.0, _MAX_IMAGE_SIDE_PIXELS / max(size))
    pixels = size[0] * scale * size[1] * scale
    return max(1, min(_UNKNOWN_IMAGE_TOKENS, round(pixels / _PIXELS_PER_TOKEN)))
