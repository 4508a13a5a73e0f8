"""The vendors' hosts that are intercepted, in one table, and which calls of theirs are calls of an API known here.

Whatever else a tool sends to these hosts (telemetry, settings, its login) is none of the gateway's business.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cliproxy.config.schema import Intercept, Treatment
from cliproxy.routes import Operation, Route, match
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import Format

_OF_APIS = frozenset(
    {
        Operation.GENERATE,
        Operation.COMPLETE,
        Operation.COMPACT,
        Operation.COUNT_TOKENS,
        Operation.NATIVE,
        Operation.CODE_ASSIST,
        Operation.LIST_MODELS,
        Operation.GET_MODEL,
        Operation.CONVERSE,
    }
)
_OF_ANY_FORMAT = frozenset({Operation.LIST_MODELS, Operation.GET_MODEL})
"""Several formats share their paths."""
_VERSIONED = re.compile(r"(?:/[^/]+)*?(/(?:upload/)?v1(?:beta|internal)?[/:].+)")
"""The gateway's path is a vendor's from the API's version on: `/compatible-mode/v1/models` is `/v1/models`."""


@dataclass(frozen=True, slots=True)
class VendorHost:
    """A host that answers calls of an API."""

    name: str
    """Lower case; with `*.` before it, all names below it."""
    provider: str
    """Whose it is, as attempts and usage name it."""
    formats: tuple[Format, ...] = ()
    """Of its API. Empty: any."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Beginnings of paths that are others at the gateway."""

    def covers(self, host: str) -> bool:
        return host.endswith(self.name[1:]) if self.name.startswith("*.") else host == self.name

    def api_call(self, method: str, path: str, *, websocket: bool = False) -> str | None:
        """The gateway's path for a call of the API; None: it is none.

        path: without the query. websocket: the call is the opening handshake of one.
        """
        path = self._at_the_gateway(path)
        try:
            route = match(method, path, websocket=websocket)
        except ClientFault:
            return None
        return path if self._has(route) else None

    def _at_the_gateway(self, path: str) -> str:
        for beginning, other in self.paths.items():
            if path.startswith(f"{beginning}/"):
                return other + path.removeprefix(beginning)
        found = _VERSIONED.fullmatch(path)
        return found[1] if found else path

    def _has(self, route: Route) -> bool:
        if route.operation not in _OF_APIS or route.is_amps:
            return False
        return not self.formats or route.operation in _OF_ANY_FORMAT or bool(set(self.formats) & set(route.formats))


_OPENAI: tuple[Format, ...] = ("openai-chat", "openai-responses")

VENDOR_HOSTS = (
    VendorHost("api.anthropic.com", "claude", ("anthropic",)),
    VendorHost("api.openai.com", "openai", _OPENAI),
    # Codex with a ChatGPT login.
    VendorHost("chatgpt.com", "codex", ("openai-responses",), {"/backend-api/codex": "/backend-api/codex"}),
    VendorHost("generativelanguage.googleapis.com", "gemini", ("gemini", "openai-chat"), {"/v1beta/openai": "/v1"}),
    # Gemini CLI and Antigravity with a Google login.
    VendorHost("cloudcode-pa.googleapis.com", "gemini-cli", ("gemini",)),
    VendorHost("daily-cloudcode-pa.googleapis.com", "antigravity", ("gemini",)),
    VendorHost("portal.qwen.ai", "qwen"),
    VendorHost("dashscope.aliyuncs.com", "qwen"),
    VendorHost("dashscope-intl.aliyuncs.com", "qwen"),
    VendorHost("coding.dashscope.aliyuncs.com", "qwen"),
    VendorHost("coding-intl.dashscope.aliyuncs.com", "qwen"),
    VendorHost("api.x.ai", "xai"),
    VendorHost("apis.iflow.cn", "iflow"),
    VendorHost("api.kimi.com", "kimi"),
    VendorHost("api.moonshot.ai", "kimi"),
    VendorHost("api.moonshot.cn", "kimi"),
    VendorHost("open.bigmodel.cn", "glm", (), {"/api/coding/paas/v4": "/v1", "/api/paas/v4": "/v1"}),
    VendorHost("api.z.ai", "glm", (), {"/api/coding/paas/v4": "/v1", "/api/paas/v4": "/v1"}),
)


class InterceptedHosts:
    """The table as a configuration extends it."""

    def __init__(self, config: Intercept, treatment: Treatment | None = None) -> None:
        """treatment: of all hosts, whatever the configuration says."""
        self._treatment: Treatment = treatment or config.mode
        self._treatments = {} if treatment else config.hosts
        known = {host.name for host in VENDOR_HOSTS}
        further = (VendorHost(name, name.removeprefix("*.")) for name in config.hosts if name not in known)
        self._hosts = (*VENDOR_HOSTS, *further)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all hosts, those with `*.` included."""
        return tuple(host.name for host in self._hosts)

    def find(self, name: str) -> VendorHost | None:
        """The host of that name; None: it is not intercepted."""
        name = name.lower().removesuffix(".")
        return next((host for host in self._hosts if host.covers(name)), None)

    def treatment(self, host: VendorHost) -> Treatment:
        """What becomes of calls to one of the hosts."""
        return self._treatments.get(host.name, self._treatment)
