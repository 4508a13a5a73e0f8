"""The codec of OpenAI's Chat Completions: requests, answers, their streams and errors, to and from the model.

`completions` holds the older Completions format, which is this one in a thinner coat.
"""

from cliproxy.wire.openai_chat.answer_decoder import AnswerDecoder, decode_answer
from cliproxy.wire.openai_chat.answer_encoder import AnswerEncoder, encode_answer
from cliproxy.wire.openai_chat.errors import decode_error, encode_error
from cliproxy.wire.openai_chat.request_decoder import decode_request
from cliproxy.wire.openai_chat.request_encoder import encode_request
from cliproxy.wire.openai_chat.vocabulary import FORMAT

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
