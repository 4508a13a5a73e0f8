"""Sends calls to candidates: over which transport, and with a token that is good."""

from cliproxy.attempt import RunningAttempt, Transport, begin
from cliproxy.credentials.record import Candidate
from cliproxy.dispatch import Trial
from cliproxy.exchange import Exchange
from cliproxy.members import Members
from cliproxy.providers import dialect_of
from cliproxy.providers.call import UpstreamCall
from cliproxy.providers.demo import DemoTransport
from cliproxy.transport.client import HttpTransport
from cliproxy.transport.websocket import UpstreamSockets


class Upstreams:
    """All that calls can be sent over."""

    def __init__(self, http: HttpTransport, sockets: UpstreamSockets, members: Members) -> None:
        """sockets: of conversations that go on over one. members: pages that relay calls."""
        self._http = http
        self._sockets = sockets
        self._members = members
        self._demo = DemoTransport()

    async def begin(
        self, exchange: Exchange, candidate: Candidate, call: UpstreamCall, trial: Trial | None = None
    ) -> RunningAttempt:
        """An upstream call under way. Where an account's token is not taken, the same again with a new one."""
        transport, account = self._transport_of(exchange, candidate), candidate.credential.account
        if account is None:
            return await begin(exchange, candidate, call, transport, trial)
        await account.ready()
        token = account.token
        attempt = await begin(exchange, candidate, call, transport, trial)
        refusals = dialect_of(candidate.credential, call.format).token_refusals
        may_repeat = call.body is None or isinstance(call.body, bytes)
        if attempt.response.status in refusals and may_repeat and await account.renewed(token):
            attempt.pass_over("the account's token was not taken: asked again with a new one")
            attempt = await begin(exchange, candidate, call, transport, trial)
        return attempt

    def _transport_of(self, exchange: Exchange, candidate: Candidate) -> Transport:
        credential, conversation = candidate.credential, exchange.request.conversation
        if credential.provider == "demo":
            return self._demo
        if credential.websockets and conversation:
            return self._sockets.transport(conversation, self._http)
        return self._members.transport_of(credential) or self._http
