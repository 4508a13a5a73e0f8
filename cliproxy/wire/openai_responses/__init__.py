"""The codec of OpenAI's Responses API: requests, answers, their streams and errors, to and from the model."""

from cliproxy.wire.openai_responses.answer_decoder import AnswerDecoder, decode_answer
from cliproxy.wire.openai_responses.answer_encoder import AnswerEncoder, encode_answer
from cliproxy.wire.openai_responses.errors import decode_error, encode_error
from cliproxy.wire.openai_responses.request_decoder import decode_request
from cliproxy.wire.openai_responses.request_encoder import encode_request
from cliproxy.wire.openai_responses.vocabulary import FORMAT

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
