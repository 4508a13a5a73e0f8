"""Amp: a coding agent whose server also stands between it and the models. Pointed here, it gets its models from this
gateway where a credential offers them, and everything else from its own server.

Source of the routes: CLIProxyAPI's history, which served them until June 2026.
"""

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address

from cliproxy.access import presented_keys, without_keys
from cliproxy.config.schema import Ampcode, AmpModelMapping
from cliproxy.credentials.record import Candidate, Credential
from cliproxy.exchange import Answer, ClientRequest, Headers
from cliproxy.providers.call import Purpose, UpstreamCall, join
from cliproxy.transport.headers import forwarded
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import ModelFacts
from cliproxy.wire.reasoning import parse_suffix

PROVIDER = "amp"


class Amp:
    """What the config says of Amp."""

    def __init__(self, config: Ampcode, offers: Callable[[str], bool]) -> None:
        """offers: whether a model of some name is here."""
        self._config = config
        self._offers = offers
        self._key = config.upstream_api_key.get_secret_value()
        self._keys = {
            client.get_secret_value(): entry.upstream_api_key.get_secret_value()
            for entry in config.upstream_api_keys
            for client in entry.api_keys
        }
        """Clients' keys here to their keys at Amp."""
        self._mappings = [(_pattern(rule), rule.target) for rule in config.model_mappings]

    @property
    def has_upstream(self) -> bool:
        """Whether there is somewhere to pass things on to."""
        return bool(self._config.upstream_url)

    def local(self, model: str) -> str | None:
        """The model here that answers one of Amp's; None: none does."""
        if self._config.force_model_mappings:
            return self._mapped(model) or (model if self._offers(model) else None)
        return model if self._offers(model) else self._mapped(model)

    def _mapped(self, model: str) -> str | None:
        bare, _ = parse_suffix(model)
        suffix = model[len(bare) :] if model.startswith(bare) else ""
        return next(self._offered_targets(bare, suffix), None)

    def _offered_targets(self, bare: str, suffix: str) -> Iterator[str]:
        """suffix: the client's wish to think; a target's own goes before it."""
        for source, target in self._mappings:
            if source.search(bare) and self._offers(target):
                says_itself = parse_suffix(target)[0] != target
                yield target if says_itself else target + suffix

    def receive(self, request: ClientRequest) -> Answer | None:
        """Let a request for one of Amp's own routes in, before its key is looked at. Raises ClientFault (403, 404).

        A browser is sent to Amp's own site, and the answer is returned: the cookies that it has for this host are other
        programs' too, and must not go there.
        """
        if not self.has_upstream:
            raise ClientFault(f"{request.path} is Amp's: ampcode.upstream-url is not set", status=404, code="not_found")
        if self._config.restrict_management_to_localhost and not _is_loopback(request.peer):
            raise ClientFault(f"{request.path} is answered on this machine only", status=403, code="not_local")
        if not request.path.startswith("/api/") and "text/html" in request.headers.get("accept", ""):
            location = join(self._config.upstream_url, request.path, without_keys(request.query))
            return Answer(307, Headers({"location": location}), b"")
        return None

    def passed_on(self, request: ClientRequest) -> tuple[Candidate, UpstreamCall]:
        """The same request for Amp's server, with the client's key there in place of its key here."""
        key = next((self._keys[shown] for shown in presented_keys(request) if shown in self._keys), self._key)
        headers = forwarded(request.headers)
        body = request.body
        if not isinstance(body, bytes) and (length := request.headers.get("content-length")):
            headers["Content-Length"] = length
        credential = Credential(
            PROVIDER,
            ("openai-chat",),
            self._config.upstream_url.rstrip("/"),
            key,
            # Amp's server looks for it in either place.
            headers={"X-Api-Key": key} if key else {},
        )
        call = UpstreamCall(
            Purpose.NATIVE,
            "openai-chat",
            request.method,
            request.path,
            without_keys(request.query),
            headers,
            body or None,
        )
        return Candidate(credential, "", ModelFacts("")), call


def _is_loopback(peer: str) -> bool:
    """peer: an IP address, of the socket."""
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _pattern(rule: AmpModelMapping) -> re.Pattern[str]:
    return re.compile(rule.source if rule.regex else rf"\A{re.escape(rule.source)}\Z", re.IGNORECASE)
