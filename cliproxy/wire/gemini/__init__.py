"""The `gemini` format: Google's generateContent, its stream in either framing, and its errors."""

from cliproxy.wire.gemini.answer_decoder import AnswerDecoder, decode_answer
from cliproxy.wire.gemini.answer_encoder import AnswerEncoder, encode_answer
from cliproxy.wire.gemini.errors import decode_error, encode_error
from cliproxy.wire.gemini.request_decoder import decode_request
from cliproxy.wire.gemini.request_encoder import encode_request
from cliproxy.wire.gemini.vocabulary import FORMAT

__all__ = [
    "FORMAT",
    "AnswerDecoder",
    "AnswerEncoder",
    "decode_answer",
    "decode_error",
    "decode_request",
    "encode_answer",
    "encode_error",
    "encode_request",
]
