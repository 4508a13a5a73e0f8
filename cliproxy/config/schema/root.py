"""`Config`, the whole file, and the small sections that are neither upstreams nor rules."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from .credentials import ClaudeKey, ClientKey, CodexKey, GeminiKey, OpenAICompatibility, VertexKey, XaiKey
from .rules import ErrorRule, ModelChain, OAuthAlias, Payload
from .values import (
    Amount,
    Count,
    Duration,
    Flag,
    HttpUrl,
    InterceptedHost,
    ListenHost,
    Name,
    Port,
    ProxyUrl,
    ReachedHost,
    Section,
    Whole,
    one_of,
    zero_means,
)

MIB = 1024 * 1024

# Agents send their whole history with every turn, screenshots included: Token Proxy's 20 MiB is too little.
MAX_REQUEST_BODY_BYTES = 64 * MIB


class Tls(Section):
    """HTTPS on the gateway's own port."""

    enable: Flag = False
    """Answer HTTPS instead of HTTP."""
    cert: str = ""
    """Path of the certificate with its chain, PEM. Empty = one is made, as `cliproxy certs` shows."""
    key: str = ""
    """Path of the certificate's private key, PEM. Needed with `cert`."""

    @model_validator(mode="after")
    def _complete(self) -> "Tls":
        if bool(self.cert) != bool(self.key):
            raise ValueError("both cert and key, or neither")
        return self


class RemoteManagement(Section):
    """The management API and the dashboard."""

    allow_remote: Flag = False
    """Answer other machines too, not only this one."""
    secret_key: SecretStr = SecretStr("")
    """Key of the management API, plain or hashed with bcrypt. Empty = the API is off."""
    disable_control_panel: Flag = False
    """Do not serve the dashboard."""
    api_call_hosts: tuple[ReachedHost, ...] = ()
    """Hosts that `api-call` may reach beside upstreams'; `*.` stands for all names below, `*` for any host."""


class Metrics(Section):
    """Figures for Prometheus, at `/metrics`."""

    enabled: Flag = False
    """Count, and answer there."""


class Routing(Section):
    """Which of several credentials serves a request."""

    strategy: Annotated[
        Literal["round-robin", "weighted-round-robin", "fill-first", "most-headroom"],
        one_of(
            rr="round-robin",
            roundrobin="round-robin",
            wrr="weighted-round-robin",
            ff="fill-first",
            fillfirst="fill-first",
        ),
    ] = "round-robin"
    """`round-robin` (`rr`), `weighted-round-robin` (`wrr`), `fill-first` (`ff`), `most-headroom` (quota)."""
    session_affinity: Flag = False
    """Keep a conversation on the credential that began it, so that prompt caches work."""
    session_affinity_ttl: Duration = 3600.0
    """How long an idle conversation keeps its credential, seconds or a duration such as `1h`."""


class Dispatch(Section):
    """How the candidates of one priority are tried."""

    type: Annotated[Literal["serial", "hedged", "race"], one_of()] = "serial"
    """`serial`: one by one. `hedged`: one more after each `delay-ms` of silence. `race`: several at once."""
    delay_ms: Count = 2000
    """With `hedged`: how long to wait before one more is tried, milliseconds."""
    max_parallel: Annotated[int, Field(strict=True, ge=1)] = 2
    """With `hedged` and `race`: how many requests may run at once."""


class UpstreamStrategy(Section):
    """Token Proxy's way of choosing and trying upstreams."""

    order: Annotated[Literal["fill-first", "round-robin"], one_of()] | None = None
    """Order within one priority. Absent = as `routing.strategy` says."""
    dispatch: Dispatch = Dispatch()
    """How the candidates of one priority are tried."""


class Streaming(Section):
    """Streamed answers."""

    keepalive_seconds: Whole = 0
    """Interval of keep-alive events while the upstream is silent, seconds. 0 or less = none."""
    bootstrap_retries: Count = 0
    """Further tries while nothing has been sent to the client, in number. 0 = none."""


class QuotaExceeded(Section):
    """What else to try when an account has no quota left."""

    switch_project: Flag = False
    """Try the account's other Google Cloud projects."""
    switch_preview_model: Flag = False
    """Try the model's preview version."""


class Codex(Section):
    """Behaviour of the `codex` provider."""

    stream_bootstrap_buffering: Flag = False
    """Hold back a stream's first events until output comes, so that a refusal among them can fail over."""
    model_level_cooling: Flag = False
    """Take a used-up quota as that of the model, not of the account."""


class ClaudeCode(Section):
    """What Claude Code is shown."""

    disable_cloaking_model_list: Flag = False
    """List models by their own names, even those that Claude Code skips for not beginning with `claude-`."""


class AmpUpstreamKey(Section):
    """The key for Amp that certain clients of this gateway use."""

    upstream_api_key: SecretStr
    """Key at Amp."""
    api_keys: tuple[SecretStr, ...] = ()
    """Keys of this gateway's clients that it is for."""


class AmpModelMapping(Section):
    """A model name of Amp's that another model answers."""

    source: Annotated[Name, Field(alias="from")]
    """Name in Amp's request."""
    target: Annotated[Name, Field(alias="to")]
    """Model of this gateway."""
    regex: Flag = False
    """Read `from` as a regular expression."""

    @model_validator(mode="after")
    def _compiles(self) -> "AmpModelMapping":
        if self.regex:
            try:
                re.compile(self.source)
            except re.error:
                raise ValueError("a regular expression in from, since regex is true") from None
        return self


class Ampcode(Section):
    """Amp's own server, for what this gateway does not answer itself."""

    upstream_url: HttpUrl = ""
    """Address of Amp's server. Empty = its routes are off."""
    upstream_api_key: SecretStr = SecretStr("")
    """Key at Amp."""
    upstream_api_keys: tuple[AmpUpstreamKey, ...] = ()
    """Keys at Amp for certain clients of this gateway."""
    restrict_management_to_localhost: Flag = False
    """Answer Amp's account routes on this machine only."""
    model_mappings: tuple[AmpModelMapping, ...] = ()
    """Models of this gateway for names that Amp asks for."""
    force_model_mappings: Flag = False
    """Follow the mappings even where a credential offers the name that Amp asked for."""


class OAuthClient(Section):
    """An OAuth client registration. What is absent comes from the provider's built-in values."""

    client_id: str = ""
    """Client identifier."""
    client_secret: SecretStr = SecretStr("")
    """Client secret, for registrations that have one. None is shipped."""
    authorize_url: HttpUrl = ""
    """Where the browser asks for consent."""
    token_url: HttpUrl = ""
    """Where codes and refresh tokens are exchanged."""
    device_url: HttpUrl = ""
    """Where a device code is asked for."""
    userinfo_url: HttpUrl = ""
    """Where the account's e-mail address is read."""
    redirect_port: Port = 0
    """Local port that the browser returns to. 0 = the provider's."""
    scopes: tuple[Name, ...] = ()
    """Scopes to ask for."""


class Provider(Section):
    """Other addresses for a built-in provider: a company's proxy, a test server."""

    base_url: HttpUrl = ""
    """Address of the API."""
    quota_url: HttpUrl = ""
    """Address of the quota query."""
    oauth: OAuthClient = OAuthClient()
    """The OAuth registration to log in with."""


class Timeouts(Section):
    """Time limits of requests to upstreams."""

    connect_seconds: Amount = 10.0
    """Longest wait for a connection, seconds. 0 = no limit."""
    first_byte_seconds: Amount = 600.0
    """Longest wait for the first byte of an answer, seconds. 0 = no limit."""
    idle_seconds: Amount = 600.0
    """Longest silence within an answer, seconds. 0 = no limit."""


class Inspect(Section):
    """What mitmweb shows of the attempts made upstream."""

    max_body_bytes: Count = MIB
    """How much is kept of each body of an attempt, bytes."""


class UsageLedger(Section):
    """The table of requests, tokens and prices."""

    path: str = ""
    """SQLite file. Empty = the PostgreSQL that gateways share; without it, `usage.db` in the user's data directory."""
    keep_days: Count = 90
    """How long single requests are kept; sums by the hour stay. 0 = for ever."""
    max_size_mb: Count = 1024
    """How large the file may grow before the oldest requests are removed, MB. 0 = any size."""


Treatment = Literal["observe", "pool", "route"]
"""What becomes of an API call that a tool made to its vendor."""
_Treatment = Annotated[Treatment, one_of()]


class Intercept(Section):
    """Tools that call their vendors, in mitmproxy's regular, upstream, SOCKS, transparent and local modes."""

    mode: _Treatment = "observe"
    """`observe`: passed on as it is, shown and counted. `pool`: with your credentials. `route`: by any provider."""
    hosts: dict[InterceptedHost, _Treatment] = Field(default_factory=dict)
    """The mode for single hosts, further ones too; `*.` at the beginning stands for all names below."""
    decrypt_others: Flag = False
    """Decrypt connections to all other hosts as well, with mitmproxy's own certificates."""
    ca: Annotated[Literal["cliproxy", "mitmproxy"], one_of()] = "cliproxy"
    """Who signs for intercepted hosts: the local CA of `cliproxy certs`, or mitmproxy's, which may sign for any."""


class Config(Section):
    """The whole configuration; every key is optional. Attributes have their keys' names, with `_` for `-`."""

    # Listening. CLIProxyAPI's default is all interfaces; what spends its owner's accounts should not be open
    # to the network unless told so.
    host: ListenHost = "127.0.0.1"
    """Address to listen on. An explicit empty text = all interfaces."""
    port: Port = 8317
    """Port to listen on. 0 = any free port."""
    tls: Tls = Tls()
    """HTTPS on the gateway's own port."""
    intercept: Intercept = Intercept()
    """Tools that call their vendors, in mitmproxy's regular, upstream, SOCKS, transparent and local modes."""
    certs_dir: str = ""
    """Where certificates are kept. Empty = `certs/` of the working tree, else in the user's data directory."""

    # Who may use it, and who may change it
    api_keys: tuple[ClientKey, ...] = ()
    """Keys that clients must show. Empty = none is asked for."""
    ws_auth: Flag = True
    """Ask for a client key on `/v1/ws` too."""
    remote_management: RemoteManagement = RemoteManagement()
    """The management API and the dashboard."""

    # Accounts and upstreams
    auth_dir: Name = "~/.cli-proxy-api"
    """Directory of the account files."""
    auth_auto_refresh_workers: Annotated[int, Field(strict=True, ge=1)] = 16
    """How many accounts may be refreshed at once."""
    demo: Flag = True
    """Offer the built-in provider `demo`, which answers without a network or a credential."""
    openai_compatibility: tuple[OpenAICompatibility, ...] = ()
    """Upstreams that speak OpenAI's APIs."""
    codex_api_key: tuple[CodexKey, ...] = ()
    """Keys for upstreams that speak OpenAI's Responses API."""
    claude_api_key: tuple[ClaudeKey, ...] = ()
    """Keys for Anthropic's API, or for an API like it."""
    gemini_api_key: tuple[GeminiKey, ...] = ()
    """Keys for Google's Gemini API, or for an API like it."""
    vertex_api_key: tuple[VertexKey, ...] = ()
    """Keys for Vertex AI, or for an API like it."""
    xai_api_key: tuple[XaiKey, ...] = ()
    """Keys for xAI's API, or for an API like it."""
    providers: dict[Name, Provider] = Field(default_factory=dict)
    """Other addresses for built-in providers, by the provider's name."""
    ampcode: Ampcode = Ampcode()
    """Amp's own server."""

    # Models
    models: dict[Name, ModelChain] = Field(default_factory=dict)
    """Names of your own that stand for several models, tried in order; `*` in a name stands for any text."""
    models_file: str = ""
    """Where `cliproxy models --refresh` keeps what it finds. Empty = `models.json` in the user's data directory."""
    force_model_prefix: Flag = False
    """Reach entries that have a `prefix` only through `prefix/model`."""
    oauth_model_alias: dict[Name, tuple[OAuthAlias, ...]] = Field(default_factory=dict)
    """Other names for the models of accounts, by provider."""
    oauth_excluded_models: dict[Name, tuple[Name, ...]] = Field(default_factory=dict)
    """Models of accounts that are not offered, by provider; `*` stands for any text."""
    oauth_request_scoped_errors: dict[Name, tuple[ErrorRule, ...]] = Field(default_factory=dict)
    """How to take certain errors of accounts, by provider."""
    payload: Payload = Payload()
    """Changes to request bodies."""

    # Choice of credential, failover, cooldown
    routing: Routing = Routing()
    """Which of several credentials serves a request."""
    upstream_strategy: UpstreamStrategy = UpstreamStrategy()
    """How several credentials are tried."""
    request_retry: Count = 0
    """Further rounds over all credentials after each has failed, in number. 0 = none."""
    max_retry_credentials: Count = 0
    """How many credentials one round tries. 0 = all."""
    max_retry_interval: Whole = 0
    """Longest wait for a sidelined credential before a further round, seconds. 0 or less = never wait."""
    disable_cooling: Flag = False
    """Never sideline a credential after a failure."""
    transient_error_cooldown_seconds: Annotated[int, Field(strict=True, ge=-1)] = 0
    """How long a credential is sidelined after a 408 or 5xx, seconds. 0 = 60 seconds, -1 = not at all."""
    save_cooldown_status: Flag = False
    """Keep the cooldowns over a restart, in files beside the account files."""
    quota_exceeded: QuotaExceeded = QuotaExceeded()
    """What else to try when an account has no quota left."""
    quota_refresh_interval: Duration = 300.0
    """How often quotas are asked for, seconds or a duration such as `5m`. 0 = only when someone looks."""

    # Requests and answers
    proxy_url: ProxyUrl = Field(default="", repr=False)
    """Proxy for upstreams (http, https, socks5, socks5h); `direct` = none. Empty = the environment's."""
    timeouts: Timeouts = Timeouts()
    """Time limits of requests to upstreams."""
    shutdown_grace_seconds: Amount = 30.0
    """How long exchanges under way may take to come to their end when the program is told to end, seconds."""
    max_request_body_bytes: Annotated[Count, AfterValidator(zero_means(MAX_REQUEST_BODY_BYTES))] = (
        MAX_REQUEST_BODY_BYTES
    )
    """Largest request body that is taken, bytes. 0 = the default."""
    passthrough_headers: Flag = False
    """Pass the upstream's response headers on with translated answers too, without those of connection and body."""
    streaming: Streaming = Streaming()
    """Streamed answers."""
    nonstream_keepalive_interval: Whole = 0
    """Interval of blank lines while a client waits for an answer in one piece, seconds. 0 or less = none."""
    codex: Codex = Codex()
    """Behaviour of the `codex` provider."""
    claude_code: ClaudeCode = ClaudeCode()
    """What Claude Code is shown."""
    disable_image_generation: Literal[False, True, "chat", "passthrough"] = False
    """`true`: no image tool, no image routes. `chat`: no image tool. `passthrough`: tools stay as sent."""

    # Seeing what happens
    debug: Flag = False
    """Log in detail, and name what a translation dropped in the response header `x-cliproxy-dropped`."""
    inspect: Inspect = Inspect()
    """What mitmweb shows of the attempts made upstream."""
    usage_statistics_enabled: Flag = True
    """Keep a table of requests, tokens, prices and errors; it holds no conversations and no secrets."""
    usage: UsageLedger = UsageLedger()
    """Where that table is, and how long it is kept."""
    metrics: Metrics = Metrics()
    """Figures for Prometheus, at `/metrics`."""
    request_log: Flag = False
    """Write every call of a model to a file of its own, with all that was said; secrets are masked."""
    logging_to_file: Flag = False
    """Write the log to files, beside the terminal."""
    logs_max_total_size_mb: Count = 100
    """Size of all log files at which the oldest are deleted, megabytes. 0 = never."""
    error_logs_max_files: Count = 10
    """How many files of failed calls are kept; these are written always. 0 = all."""

    @field_validator("api_keys")
    @classmethod
    def _one_policy_a_key(cls, clients: tuple[ClientKey, ...]) -> tuple[ClientKey, ...]:
        policies: dict[str, ClientKey] = {}
        for number, client in enumerate(clients, 1):
            if policies.setdefault(client.key.get_secret_value(), client) != client:
                raise PydanticCustomError(
                    "refused", "entry {number} repeats a key with other limits", {"number": number}
                )
        return clients
