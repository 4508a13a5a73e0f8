"""Gemini's words that its decoders and encoders share: endings, usage, signatures, media, models."""

import re
from typing import Literal

from cliproxy.wire import envelope, media
from cliproxy.wire.fields import integer_of
from cliproxy.wire.model import Carrier, FinishReason, Format, Json, Media, Usage

FORMAT: Format = "gemini"

# ---------------------------------------------------------------- endings

_FINISH_REASONS: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "filter",
    "RECITATION": "filter",
    "LANGUAGE": "filter",
    "BLOCKLIST": "filter",
    "PROHIBITED_CONTENT": "filter",
    "SPII": "filter",
    "MODEL_ARMOR": "filter",
    "IMAGE_SAFETY": "filter",
    "IMAGE_PROHIBITED_CONTENT": "filter",
    "IMAGE_RECITATION": "filter",
    "FINISH_REASON_UNSPECIFIED": "stop",
    "OTHER": "stop",
    "NO_IMAGE": "stop",
    "IMAGE_OTHER": "stop",
    "MALFORMED_FUNCTION_CALL": "stop",
    "MALFORMED_RESPONSE": "stop",
    "UNEXPECTED_TOOL_CALL": "stop",
    "TOO_MANY_TOOL_CALLS": "stop",
    "MISSING_THOUGHT_SIGNATURE": "stop",
}

_FINISH_WORDS: dict[FinishReason, str] = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "length": "MAX_TOKENS",
    "tool": "STOP",
    "filter": "SAFETY",
    "refusal": "SAFETY",
    "pause": "STOP",
}

BROKEN_FINISHES = frozenset({
    "MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
})  # fmt: skip
"""The model's answer was thrown away: with nothing said before it, this is no answer."""


def finish_reason(word: str | None, *, called: bool) -> FinishReason:
    """called: the answer holds a call for the client, for which Gemini has no word."""
    reason = _FINISH_REASONS.get(word or "STOP", "stop")
    return "tool" if called and reason == "stop" else reason


def finish_word(reason: FinishReason, raw: str | None) -> str:
    """The `finishReason` for `reason`: the origin's own word where that is one of Gemini's."""
    return raw if raw is not None and raw in _FINISH_REASONS else _FINISH_WORDS[reason]


# ---------------------------------------------------------------- usage


def usage_of(counts: Json) -> Usage:
    """The prompt's count includes what the cache gave, the candidates' no thoughts."""
    cached, thoughts = integer_of(counts, "cachedContentTokenCount"), integer_of(counts, "thoughtsTokenCount")
    prompt, candidates = integer_of(counts, "promptTokenCount"), integer_of(counts, "candidatesTokenCount")
    usage = Usage(cache_read=cached, reasoning=thoughts)
    if prompt is not None:
        usage.input = max(0, prompt + (integer_of(counts, "toolUsePromptTokenCount") or 0) - (cached or 0))
    if candidates is not None or thoughts is not None:
        usage.output = (candidates or 0) + (thoughts or 0)
    return usage


def usage_json(usage: Usage) -> Json:
    """`usageMetadata`; its clients read the three totals as numbers, so what was not reported counts as 0."""
    prompt = (usage.input or 0) + (usage.cache_read or 0) + (usage.cache_write or 0)
    output, thoughts = usage.output or 0, usage.reasoning or 0
    counts: Json = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": max(0, output - thoughts),
        "totalTokenCount": prompt + output,
    }
    if usage.cache_read:
        counts["cachedContentTokenCount"] = usage.cache_read
    if thoughts:
        counts["thoughtsTokenCount"] = thoughts
    return counts


# ---------------------------------------------------------------- signatures

FILLER_SIGNATURE = "skip_thought_signature_validator"
"""What Google lets a client send for a signature that it never had."""

_FILLERS = frozenset({FILLER_SIGNATURE, "context_engineering_is_the_way_to_go"})


def carrier_of(signature: str) -> Carrier | None:
    """What a client's `thoughtSignature` holds: Gemini's own, another vendor's under seal, or nothing."""
    if signature in _FILLERS:
        return None
    return envelope.unseal(signature) or Carrier(FORMAT, "signature", signature)


def slot_text(carrier: Carrier) -> str:
    """The `thoughtSignature` that a client is given to bring back."""
    return carrier.data if carrier.origin == FORMAT else envelope.seal(carrier)


# ---------------------------------------------------------------- media

MediaKind = Literal["image", "document", "audio", "video"]

DEFAULT_MIMES: dict[MediaKind, str] = {
    "image": "image/png",
    "document": "application/pdf",
    "audio": "audio/wav",
    "video": "video/mp4",
}

_OWN_FILES = re.compile(r"gs://|https://[^/]*\bgoogleapis\.com/|files/")
_YOUTUBE = re.compile(r"https?://(www\.|m\.)?(youtube\.com|youtu\.be)/")


def media_kind(mime: str) -> MediaKind:
    match mime.partition("/")[0]:
        case "image" | "audio" | "video" as kind:
            return kind
        case _:
            return "document"


def inline_media(mime: str | None, data: str, name: str | None = None) -> Media:
    """`inlineData` as a part."""
    mime = mime or "application/octet-stream"
    return Media(media_kind(mime), mime, data=data, name=name)


def linked_media(mime: str | None, uri: str, name: str | None = None) -> Media:
    """`fileData` as a part: an upload of Google's means nothing to others, an address on the web does."""
    if mime is None:
        mime = "video/mp4" if _YOUTUBE.match(uri) else media.mime_of(uri)
    kind = media_kind(mime) if mime is not None else "document"
    return Media(kind, mime, url=uri, name=name, origin=FORMAT if _OWN_FILES.match(uri) else None)


def media_json(part: Media) -> Json:
    """The part that holds media, which must not be a foreign upload nor a plain text."""
    if part.data is not None:
        return {"inlineData": {"mimeType": part.mime or DEFAULT_MIMES[part.kind], "data": part.data}}
    uri = part.url or part.file_id or ""
    mime = part.mime or media.mime_of(uri) or DEFAULT_MIMES[part.kind]
    return {"fileData": {"mimeType": mime, "fileUri": uri}}


# ---------------------------------------------------------------- models

_GENERATION = re.compile(r"gemini-(\d+)")


def generation(model: str) -> int | None:
    """The 3 of `gemini-3-pro-preview`; None where the name does not tell."""
    found = _GENERATION.search(model)
    return int(found[1]) if found else None
