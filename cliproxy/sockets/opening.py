"""Which WebSockets clients may open: an opening handshake becomes a conversation, or an answer that says why not."""

from cliproxy.access import Access
from cliproxy.answering import error_answer
from cliproxy.config.schema import Config
from cliproxy.exchange import Answer, ClientRequest
from cliproxy.routes import Operation, error_format, match
from cliproxy.sockets.relay import Relay
from cliproxy.sockets.responses import ResponsesConversation
from cliproxy.transport.websocket import UpstreamSockets
from cliproxy.websocket import Ask, Conversation
from cliproxy.wire.errors import GatewayError


class Sockets:
    """The WebSockets of one configuration."""

    def __init__(self, config: Config, upstreams: UpstreamSockets, relay: Relay) -> None:
        """upstreams: the other side's sockets. relay: takes the pages of AI Studio."""
        self._config = config
        self._access = Access(config.api_keys)
        self._upstreams = upstreams
        self._relay = relay

    def open(self, handshake: ClientRequest, ask: Ask) -> Answer | Conversation:
        """What will go on over a socket, or why it is refused.

        ask: answers the requests that come over it, by whichever configuration there is then.
        """
        try:
            route = match(handshake.method, handshake.path, websocket=True)
            if route.operation is Operation.CONVERSE or self._config.ws_auth:
                self._access.admit(handshake)
        except GatewayError as error:
            return error_answer(error, error_format(handshake.path))
        if route.operation is Operation.RELAY:
            return self._relay.page()
        return ResponsesConversation(handshake, ask, self._upstreams, self._config.max_request_body_bytes)
