"""mitmproxy commands: what the gateway has and does, and its exchanges asked again, reported and made shell lines."""

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import mitmproxy.types
from mitmproxy import command, ctx, exceptions, flow, http, version
from mitmproxy.addons.view import View
from mitmproxy.log import ALERT

from addons.connection import PLACEHOLDER_HOST
from addons.gateway import GatewayAddon
from addons.labels import ATTEMPT, DROPPED, FORMAT, REPLAY_OF
from addons.life import Standing
from addons.redaction import Redaction, redacted
from cliproxy.agent import USER_AGENT
from cliproxy.call import with_model
from cliproxy.config.loading import ConfigFault
from cliproxy.credentials.cooldown import ALL_MODELS, SavedCooldown
from cliproxy.credentials.record import Credential
from cliproxy.inspection.body import json_object
from cliproxy.inspection.curl import curl_line
from cliproxy.inspection.report import Call, Message, ReportedExchange, readable, report
from cliproxy.routing.catalogue import Catalogue
from cliproxy.routing.listing import everything_listed

logger = logging.getLogger(__name__)

_MAX_COMMENT = 60


class Commands:
    """The commands whose names begin with `cliproxy.`."""

    name = "cliproxy.commands"

    def __init__(self, gateway: GatewayAddon, redaction: Redaction) -> None:
        self._gateway = gateway
        self._redaction = redaction

    # ------------------------------------------------------------ the gateway

    @command.command("cliproxy.credentials")
    def credentials(self) -> mitmproxy.types.Data:
        """
        Show the credentials: who each is, the formats it speaks, its priority, and whether it is sidelined and why.
        """
        standing = self._standing()
        cooldowns = standing.cooldowns.dump()
        return [_credential_row(credential, cooldowns) for credential in standing.credentials]  # pyright: ignore[reportReturnType] - mitmproxy's name for lists of lists of str

    @command.command("cliproxy.models")
    def models(self) -> mitmproxy.types.Data:
        """
        Show the models that clients may ask for, with their provider and context window.
        """
        standing = self._standing()
        config = standing.config
        catalogue = Catalogue(standing.credentials, standing.registry, force_prefix=config.force_model_prefix)
        listed = everything_listed(catalogue, config.models)
        return [[model.name, model.provider, str(model.facts.context_tokens or "")] for model in listed]  # pyright: ignore[reportReturnType] - as above

    @command.command("cliproxy.reload")
    def reload(self) -> None:
        """
        Read config.yaml again. Requests under way go on as they began.
        """
        try:
            self._gateway.reload()
        except ConfigFault as fault:
            raise exceptions.CommandError(str(fault)) from None
        logger.log(ALERT, "The config was read again.")

    @command.command("cliproxy.cooldown.clear")
    def clear_cooldown(self, credential: str = "") -> None:
        """
        Ask sidelined credentials again at once: those whose name holds a text, or all.
        """
        standing = self._standing()
        meant = [each for each in standing.credentials if credential.lower() in each.label.lower()]
        if not meant:
            raise exceptions.CommandError(f"No credential is called {credential!r}.")
        count = sum(len(standing.cooldowns.clear(each.id)) for each in meant)
        logger.log(ALERT, f"{count} cooldowns are over.")

    # ------------------------------------------------------------ exchanges

    @command.command("cliproxy.replay")
    def replay(self, flows: Sequence[flow.Flow], model: str = "") -> None:
        """
        Send clients' requests again, to another model if one is named. The first answer stays, beside the new one.
        """
        again = [_asked_again(client, model) for client in _clients(flows)]
        view = ctx.master.addons.get("view")
        if isinstance(view, View):
            view.add(again)
        ctx.master.commands.call("replay.client", again)

    @command.command("cliproxy.export")
    def export(self, flows: Sequence[flow.Flow], path: mitmproxy.types.Path) -> None:
        """
        Write a report of exchanges, for a bug report: requests, answers, curl lines, versions; without secrets.
        """
        exchanges = [self._reported(client) for client in _clients(flows)]
        text = report(exchanges, {"cliproxy": USER_AGENT.partition("/")[2], "mitmproxy": version.VERSION})
        try:
            Path(path).expanduser().write_text(text, "utf-8")
        except OSError as error:
            raise exceptions.CommandError(f"{path} cannot be written: {error.strerror}") from None
        logger.log(ALERT, f"Wrote a report of {len(exchanges)} exchanges.")

    @command.command("cliproxy.curl")
    def curl(self, flow: flow.Flow) -> str:
        """
        The curl line that sends a flow's request again. Its credential is a variable: $CLIPROXY_KEY, $UPSTREAM_KEY.
        """
        try:
            return _curl(self._clean(_http(flow)))
        except ValueError as error:
            raise exceptions.CommandError(f"curl cannot send this: {error}") from None

    def request(self, flow: http.HTTPFlow) -> None:
        """Keep mitmproxy's own replay from sending an attempt's masked credential."""
        if flow.is_replay == "request" and ATTEMPT in flow.metadata and not flow.response:
            said = "An attempt's credential is not kept: cliproxy.replay sends its client's request again.\n"
            flow.response = http.Response.make(409, said, {"content-type": "text/plain"})

    def _standing(self) -> Standing:
        if standing := self._gateway.standing:
            return standing
        raise exceptions.CommandError("The config could not be read; the log says why.")

    def _clean(self, flow: http.HTTPFlow) -> http.HTTPFlow:
        redactor = self._redaction.redactor()
        return redacted(flow, redactor) if redactor else flow

    def _reported(self, client: http.HTTPFlow) -> ReportedExchange:
        attempts = [self._clean(each) for each in _all_flows() if each.metadata.get(ATTEMPT) == client.id]
        return ReportedExchange(_call(self._clean(client)), [_call(attempt) for attempt in attempts])


# ---------------------------------------------------------------- rows


def _credential_row(credential: Credential, cooldowns: Sequence[SavedCooldown]) -> list[str]:
    standing = [_cooldown(each) for each in cooldowns if each.credential == credential.id]
    return [
        credential.label,
        ", ".join(credential.formats),
        f"priority {credential.priority}",
        "; ".join(standing) or "ready",
    ]


def _cooldown(cooldown: SavedCooldown) -> str:
    seconds = max(0, round(cooldown.next_try_s - time.time()))
    what = "all models" if cooldown.model == ALL_MODELS else cooldown.model
    return (
        f"{what}: {cooldown.reason} {cooldown.status}, asked again in {seconds} s ({cooldown.message[:_MAX_COMMENT]})"
    )


# ---------------------------------------------------------------- flows


def _http(flow: flow.Flow) -> http.HTTPFlow:
    if isinstance(flow, http.HTTPFlow):
        return flow
    raise exceptions.CommandError("This is no HTTP flow.")


def _all_flows() -> list[http.HTTPFlow]:
    """Those that the user interface has."""
    if "view.flows.resolve" not in ctx.master.commands.commands:
        return []
    return [each for each in ctx.master.commands.call("view.flows.resolve", "@all") if isinstance(each, http.HTTPFlow)]


def _clients(flows: Sequence[flow.Flow]) -> list[http.HTTPFlow]:
    """The clients' flows that are meant: an attempt means its client's."""
    known = {each.id: each for each in _all_flows()}
    meant: dict[str, http.HTTPFlow] = {}
    for each in map(_http, flows):
        client = known.get(each.metadata[ATTEMPT]) if ATTEMPT in each.metadata else each
        if client is None:
            raise exceptions.CommandError("The client's flow of this attempt is not here any more.")
        meant[client.id] = client
    if not meant:
        raise exceptions.CommandError("No flow is selected.")
    return list(meant.values())


def _asked_again(client: http.HTTPFlow, model: str) -> http.HTTPFlow:
    """A copy of a client's flow that has not been answered yet, addressed to the gateway."""
    if client.live and not client.response:
        raise exceptions.CommandError("This request is still being answered.")
    if client.request.raw_content is None:
        raise exceptions.CommandError("The body of this request was not kept.")
    again = client.copy()
    again.response = again.error = again.websocket = None
    again.marked = ""
    again.metadata = {REPLAY_OF: client.id}
    again.comment = f"replay of {client.id[:8]}"
    request = again.request
    # Whatever host it was sent to: a client's own credential is not kept.
    request.host, request.port, request.scheme = PLACEHOLDER_HOST, 80, "http"
    if model:
        _set_model(request, model)
    return again


def _set_model(request: http.Request, model: str) -> None:
    before, models, after = request.path.partition("/models/")
    if models and ":" in after:
        request.path = f"{before}{models}{model}:{after.partition(':')[2]}"
        return
    body = request.get_content(strict=False) or b""
    if not isinstance((json_object(body) or {}).get("model"), str):
        raise exceptions.CommandError("This request names no model.")
    request.content = with_model(body, model)


def _curl(flow: http.HTTPFlow) -> str:
    request = flow.request
    is_attempt = ATTEMPT in flow.metadata
    url = request.url if is_attempt or request.host != PLACEHOLDER_HOST else _listener(flow) + request.path
    body = request.get_content(strict=False) or b""
    headers = [(name, value) for name, value in request.headers.items(multi=True) if name != "content-encoding"]
    return curl_line(request.method, url, headers, body, "UPSTREAM_KEY" if is_attempt else "CLIPROXY_KEY")


def _listener(flow: http.HTTPFlow) -> str:
    """Where the client reached the gateway."""
    host, port = flow.client_conn.sockname[:2]
    if not port:
        return f"http://{PLACEHOLDER_HOST}"
    return f"{'https' if flow.client_conn.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _call(flow: http.HTTPFlow) -> Call:
    facts = dict(_facts(flow))
    try:
        line = _curl(flow)
    except ValueError:
        line = ""
    number = flow.metadata.get("cliproxy.number")
    return Call(
        title=f"Attempt {number}" if number else f"{flow.request.method} {flow.request.path}",
        request=_message(f"{flow.request.method} {flow.request.url}", flow.request),
        curl=line,
        facts=facts,
        answer=_message(f"{flow.response.status_code} {flow.response.reason}", flow.response)
        if flow.response
        else None,
        error=flow.error.msg if flow.error else "",
    )


def _facts(flow: http.HTTPFlow) -> Iterator[tuple[str, str]]:
    yield "flow", flow.id
    if flow.comment:
        yield "in short", flow.comment
    if format_ := flow.metadata.get(FORMAT):
        yield "format", format_
    for number, dropped in enumerate(flow.metadata.get(DROPPED, ()), start=1):
        yield f"dropped {number}", dropped
    if flow.response and flow.response.timestamp_end:
        asked_s, answer = flow.request.timestamp_start, flow.response
        headers_s, took_s = answer.timestamp_start - asked_s, flow.response.timestamp_end - asked_s
        yield "took", f"{took_s:.3f} s, headers after {headers_s:.3f} s"


def _message(first_line: str, message: http.Message) -> Message:
    headers = [(name, value) for name, value in message.headers.items(multi=True)]
    return Message(first_line, headers, readable(message.get_content(strict=False) or b""))
