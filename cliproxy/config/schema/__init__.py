"""The shape of `config.yaml` as frozen models: every key with its type, default, limits and what it does.

`values` has the kinds of values, `credentials` upstreams and client keys, `rules` what users script, `root`
the rest and `Config` itself. How a file becomes a `Config` is the business of `cliproxy.config.loading`.
"""

from .credentials import (
    ClaudeKey,
    ClientKey,
    CodexKey,
    CompatModel,
    GeminiKey,
    KeyedUpstream,
    KeyEntry,
    Model,
    OpenAICompatibility,
    Thinking,
    Upstream,
    VertexKey,
    XaiKey,
)
from .root import Config, Dispatch, Inspect, OAuthClient, Provider, Routing, Timeouts, Tls, UpstreamStrategy
from .rules import (
    ErrorRule,
    ModelChain,
    OAuthAlias,
    Payload,
    PayloadFilter,
    PayloadRule,
    PayloadSelector,
    RawPayloadRule,
)
from .values import Headers, Section, kebab

__all__ = [
    "ClaudeKey",
    "ClientKey",
    "CodexKey",
    "CompatModel",
    "Config",
    "Dispatch",
    "ErrorRule",
    "GeminiKey",
    "Headers",
    "Inspect",
    "KeyEntry",
    "KeyedUpstream",
    "Model",
    "ModelChain",
    "OAuthAlias",
    "OAuthClient",
    "OpenAICompatibility",
    "Payload",
    "PayloadFilter",
    "PayloadRule",
    "PayloadSelector",
    "Provider",
    "RawPayloadRule",
    "Routing",
    "Section",
    "Thinking",
    "Timeouts",
    "Tls",
    "Upstream",
    "UpstreamStrategy",
    "VertexKey",
    "XaiKey",
    "kebab",
]
