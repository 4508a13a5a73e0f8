"""Shows every upstream attempt as a flow of its own, next to the client's.

The gateway's upstream calls are not mitmproxy's connections, so their flows are made here from the records of
`cliproxy.exchange` and announced through mitmproxy's hooks: view, save, HAR export, intercept and other addons then see
them as they see any flow. Client flow and attempts name each other in their comments. Nothing is built when
nobody looks. Credentials are masked before they enter a flow.
"""

from mitmproxy import connection, ctx, flow, http
from mitmproxy.proxy.layers.http._hooks import HttpErrorHook, HttpResponseHook
from mitmproxy.utils import asyncio_utils
from yarl import URL

from addons.attempt_flow import AttemptFlow
from addons.carrier import Carrier
from addons.editing import shown_request
from addons.labels import MARK_FAILED, MARK_SERVED, label_attempt, label_client, outcome
from addons.streamed_body import LEFT_OUT
from cliproxy.exchange import Attempt, Exchange, Transport


class AttemptObserver:
    """Keeps the flows of one exchange's attempts in step with their records."""

    def __init__(self, client_flow: http.HTTPFlow, keep_bytes: int) -> None:
        """keep_bytes: how much of each answer, the newest, its flow shows."""
        self._client_flow = client_flow
        self._keep_bytes = keep_bytes
        self._carriers: dict[int, Carrier] = {}

    def carrier(self, exchange: Exchange, attempt: Attempt, transport: Transport) -> Transport:
        attempt_flow = _begun(self._client_flow, attempt)
        label_attempt(attempt_flow, self._client_flow.id, exchange, attempt)
        carrier = self._carriers[attempt.number] = Carrier(attempt_flow, attempt, transport, self._keep_bytes)
        self._label_client(exchange)
        return carrier

    def attempt_ended(self, exchange: Exchange, attempt: Attempt) -> None:
        carrier = self._carriers[attempt.number]
        attempt_flow = carrier.flow
        attempt_flow.is_over = True
        attempt_flow.resume()
        label_attempt(attempt_flow, self._client_flow.id, exchange, attempt)
        attempt_flow.marked = MARK_SERVED if outcome(attempt) == "served" else MARK_FAILED
        attempt_flow.server_conn.timestamp_end = attempt.ended_s
        self._label_client(exchange)
        self._client_flow.marked = attempt_flow.marked
        if attempt_flow.response is None or attempt.error:
            attempt_flow.error = flow.Error(attempt.error or "no answer", attempt.ended_s)
        if attempt_flow.response is not None:
            attempt_flow.response.timestamp_end = attempt.ended_s
        carrier.finish()
        if left_out := attempt_flow.metadata.get(LEFT_OUT):
            size = attempt.response_bytes
            attempt_flow.comment += f" · the last {size - left_out} of {size} bytes kept"
        attempt_flow.live = False
        hook = HttpErrorHook(attempt_flow) if attempt_flow.error else HttpResponseHook(attempt_flow)
        announcing = ctx.master.addons.handle_lifecycle(hook)
        asyncio_utils.create_task(announcing, name="announce attempt", keep_ref=True)

    def _label_client(self, exchange: Exchange) -> None:
        label_client(self._client_flow, exchange, [carrier.flow.id for carrier in self._carriers.values()])


def _begun(client_flow: http.HTTPFlow, attempt: Attempt) -> AttemptFlow:
    url = URL(attempt.request.url, encoded=True)
    server = connection.Server(address=(url.host or "demo", url.port or 443))
    server.timestamp_start = attempt.started_s
    server.tls = url.scheme == "https"
    attempt_flow = AttemptFlow(client_flow.client_conn, server, live=True)
    attempt_flow.client_flow = client_flow
    attempt_flow.request = shown_request(attempt.request, attempt.secret_headers)
    attempt_flow.request.timestamp_start = attempt_flow.request.timestamp_end = attempt.started_s
    return attempt_flow
