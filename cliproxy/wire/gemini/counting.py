"""Bodies of countTokens: what a client asks to be counted, and the answer to it."""

from cliproxy.wire.gemini.camel_case import CamelFields
from cliproxy.wire.gemini.request_decoder import decode_request
from cliproxy.wire.model import Json, Request


def decode_count_request(body: Json, *, model: str | None = None) -> Request:
    """Read a countTokens body: `contents` alone, or a whole request. Raises as `decode_request`."""
    whole = CamelFields(body).json("generateContentRequest")
    return decode_request(body if whole is None else whole, model=model)


def encode_count(tokens: int) -> Json:
    return {"totalTokens": tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]}
