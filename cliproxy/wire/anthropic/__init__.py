"""The codec of Anthropic's Messages API: requests, answers, streams and errors, to and from the model."""

from cliproxy.wire.anthropic.answer_decoder import AnswerDecoder, decode_answer
from cliproxy.wire.anthropic.answer_encoder import AnswerEncoder, encode_answer
from cliproxy.wire.anthropic.errors import decode_error, encode_error
from cliproxy.wire.anthropic.request_decoder import decode_request
from cliproxy.wire.anthropic.request_encoder import encode_request
from cliproxy.wire.anthropic.vocabulary import FORMAT

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
