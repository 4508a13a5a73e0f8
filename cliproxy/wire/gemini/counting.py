"""Token counts: bodies of countTokens, to and from the four formats' common ground."""

from cliproxy.wire.errors import UpstreamGarbled
from cliproxy.wire.gemini.camel_case import CamelFields
from cliproxy.wire.gemini.request_decoder import decode_request
from cliproxy.wire.gemini.request_encoder import encode_request
from cliproxy.wire.model import Encoded, Json, ModelFacts, Request


def decode_count_request(body: Json, *, model: str | None = None) -> Request:
    """Read a countTokens body: `contents` alone, or a whole request. Raises as `decode_request`."""
    whole = CamelFields(body).json("generateContentRequest")
    return decode_request(body if whole is None else whole, model=model)


def encode_count_request(request: Request, facts: ModelFacts) -> Encoded:
    """Write a countTokens body: a whole request, as `contents` alone would not count system and tools."""
    encoded = encode_request(request, facts)
    encoded.body = {"generateContentRequest": {"model": f"models/{facts.name}", **encoded.body}}
    return encoded


def decode_count(body: Json) -> int:
    """The tokens that an upstream counted. Raises UpstreamGarbled when it says none."""
    tokens = body.get("totalTokens")
    if not isinstance(tokens, int) or isinstance(tokens, bool):
        raise UpstreamGarbled("the upstream's token count has no totalTokens")
    return tokens


def encode_count(tokens: int) -> Json:
    return {"totalTokens": tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]}
