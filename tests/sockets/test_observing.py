"""WebSockets of tools to their vendors: what each request on them comes to."""

import json
from typing import Any

import pytest

from cliproxy.exchange import ClientRequest, Exchange, Headers, Intercepted
from cliproxy.sockets.observing import ObservedSocket
from tests import native
from tests.processes import CLIENT_KEY
from tests.streams import events

CREATE = {"type": "response.create", "model": "vendors-own", "input": "hello"}


class Socket:
    def __init__(self) -> None:
        intercepted = Intercepted("observe", "openai", "https://api.openai.com/v1/responses")
        headers = Headers({"authorization": f"Bearer {CLIENT_KEY}"})
        handshake = ClientRequest("GET", "/v1/responses", "", headers, b"", intercepted=intercepted)
        self.booked: list[Exchange] = []
        self._observed = ObservedSocket(handshake, self.booked.append)
        self.close = self._observed.close

    def say(self, message: Any) -> None:
        self._observed.client_said(message if isinstance(message, bytes) else json.dumps(message).encode())

    def hear(self, *messages: bytes) -> None:
        for message in messages:
            self._observed.vendor_said(message)


def answer() -> list[bytes]:
    """A vendor's answer, a message an event."""
    frames = events("openai-responses")
    return [frame.partition(b"data: ")[2].strip() for frame in frames]


@pytest.fixture
def socket() -> Socket:
    return Socket()


def test_each_request_is_on_record_with_what_it_used(socket: Socket) -> None:
    for number in (1, 2):
        socket.say(CREATE)
        socket.hear(*answer())
        assert len(socket.booked) == number
    exchange = socket.booked[-1]
    assert (exchange.model, exchange.format, exchange.status, exchange.error) == (
        "vendors-own",
        "openai-responses",
        200,
        "",
    )
    (attempt,) = exchange.attempts
    assert (attempt.usage.input, attempt.usage.output) == (native.INPUT_TOKENS, native.OUTPUT_TOKENS)
    assert (attempt.provider, attempt.status, attempt.finish_reason) == ("openai", 200, "stop")
    assert attempt.credential.startswith("openai sk-t…#")
    assert attempt.response_bytes == sum(map(len, answer()))


def test_getting_ready_is_no_request(socket: Socket) -> None:
    socket.say({**CREATE, "generate": False})
    socket.hear(*answer())
    assert not socket.booked


def test_what_goes_on_keeps_the_model(socket: Socket) -> None:
    socket.say(CREATE)
    socket.hear(*answer())
    socket.say({"type": "response.append", "input": "more"})
    socket.hear(*answer())
    assert [exchange.model for exchange in socket.booked] == ["vendors-own", "vendors-own"]


def test_an_error_ends_a_request(socket: Socket) -> None:
    socket.say(CREATE)
    socket.hear(json.dumps({"type": "error", "code": "server_error", "message": "no luck", "param": None}).encode())
    (exchange,) = socket.booked
    assert "no luck" in exchange.error


def test_a_socket_that_is_closed_cuts_its_answer(socket: Socket) -> None:
    socket.say(CREATE)
    socket.hear(*answer()[:2])
    socket.close()
    socket.close()
    (exchange,) = socket.booked
    assert exchange.error == "the WebSocket was closed before the answer's end"


def test_another_request_cuts_the_answer_before(socket: Socket) -> None:
    socket.say(CREATE)
    socket.say(CREATE)
    socket.hear(*answer())
    assert [exchange.error for exchange in socket.booked] == ["another request came before the answer's end", ""]


@pytest.mark.parametrize("message", [b"no json", b"\xff", b"[]", b'{"type": 5}', b'{"type": "response.processed"}'])
def test_other_messages_mean_nothing(socket: Socket, message: bytes) -> None:
    socket.say(message)
    socket.hear(message)
    socket.close()
    assert not socket.booked
