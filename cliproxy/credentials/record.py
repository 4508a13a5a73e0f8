"""One key or account of the user's, with all that the gateway needs to know to call its upstream."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from cliproxy.config.schema import ErrorRule
from cliproxy.secrets import mask
from cliproxy.wildcard import matches
from cliproxy.wire.model import Format, ModelFacts, ThinkingFacts


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A model that a credential offers, by the name that clients use."""

    name: str
    """As clients ask for it; a trailing `*` stands for any text."""
    upstream: str
    """As the upstream calls it; `*` alone keeps the name that the client used."""
    display_name: str = ""
    context_tokens: int = 0
    """Context window to report; 0: what the registry says."""
    force_mapping: bool = False
    """Answers name the model as the client did."""
    thinking: ThinkingFacts | None = None
    """In place of what the registry says."""
    input_modalities: tuple[str, ...] | None = None


class Account(Protocol):
    """The login behind a credential. The credential stays while the tokens of its account change."""

    id: str
    """Of the login, whatever its tokens: where it is kept."""

    @property
    def label(self) -> str:
        """What people see: e-mail address or the like, never a token."""
        ...

    @property
    def token(self) -> str:
        """What is shown to the upstream now: an access token or an API key."""
        ...

    @property
    def fields(self) -> Mapping[str, Any]:
        """What its auth file says now, in snake case; holds secrets."""
        ...

    async def ready(self) -> None:
        """Have a token that is good for now. Raises UpstreamRefused (401) where that takes the user."""
        ...

    async def renewed(self, refused: str) -> bool:
        """Whether there is another token now than `refused`, which the upstream did not take."""
        ...


@dataclass(frozen=True, slots=True)
class Credential:
    """A key or account. Never printed with its secret: `label` is what people see."""

    provider: str
    """`claude`, `codex`, `gemini`, `demo`, or the name of an OpenAI-compatible upstream."""
    formats: tuple[Format, ...]
    """The wire formats that its upstream speaks, preferred one first."""
    base_url: str
    """Without a trailing slash."""
    secret: str = field(default="", repr=False)
    models: tuple[OfferedModel, ...] = ()
    """Empty: the registry's models of this provider."""
    prefix: str = ""
    excluded: tuple[str, ...] = ()
    """Patterns, lower case."""
    priority: int = 0
    weight: int = 1
    max_concurrent: int = 0
    """Requests that may be under way at once; 0: any number."""
    request_retry: int | None = None
    """Further rounds for this one; None: as the top level says."""
    cools: bool = True
    """False: its failures never sideline it."""
    error_rules: tuple[ErrorRule, ...] = ()
    headers: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    """Extra headers; `$Name` copies the client's header, None removes one."""
    proxy_url: str = field(default="", repr=False)
    streams_only: bool = False
    """Its upstream is asked for streams even where the client wants a whole answer."""
    convert_from: tuple[Format, ...] | None = None
    """Client formats that may be translated for it; None: all."""
    dialect: str = ""
    """Whose way of calling its upstream takes (see `cliproxy.providers`); empty: the plain API of the format."""
    websockets: bool = False
    """Its upstream also takes requests over a WebSocket."""
    account: Account | None = field(default=None, repr=False)
    """The login that gives its tokens; None: `secret` is all there is."""
    id: str = field(init=False)
    """A hash of what it is, so that state about it survives a change of its place in the config."""

    def __post_init__(self) -> None:
        identity = (
            self.account.id
            if self.account
            else "\0".join(
                (
                    self.provider,
                    self.base_url,
                    self.secret,
                    self.proxy_url,
                    self.prefix,
                    repr(sorted(self.headers.items())),
                )
            )
        )
        digest = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()
        object.__setattr__(self, "id", f"{self.provider}:{digest[:12]}")

    @property
    def label(self) -> str:
        """`claude sk-a…#1f3a9c`: provider and masked secret, or the name of the account."""
        return f"{self.provider} {self.account.label if self.account else mask(self.secret)}".rstrip()

    @property
    def bearer(self) -> str:
        """What the upstream is shown now: the account's token, or the secret."""
        return self.account.token if self.account else self.secret

    def serves(self, client: Format) -> bool:
        """Whether clients of a format may use it: those of its own formats, and those that may be translated."""
        return client in self.formats or self.convert_from is None or client in self.convert_from

    def excludes(self, model: str) -> bool:
        """Whether `excluded-models` takes this upstream or client name out."""
        return any(matches(pattern, model) for pattern in self.excluded)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A credential that can serve a request, and what it would be asked for."""

    credential: Credential
    model: str
    """As the upstream calls it; empty where the call has no model."""
    facts: ModelFacts
    force_mapping: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Candidates of one priority for one model: equally good, in the order of the config."""

    candidates: tuple[Candidate, ...]
    key: str
    """The same for the same candidates, in whichever configuration."""

    @classmethod
    def of(cls, name: str, candidates: tuple[Candidate, ...]) -> "Group":
        """name: the client's for the model."""
        members = "\0".join(f"{c.credential.id}*{c.credential.weight}" for c in candidates)
        return cls(candidates, f"{name}:{hashlib.sha256(members.encode()).hexdigest()[:16]}")


def grouped(name: str, candidates: Iterable[Candidate]) -> tuple[Group, ...]:
    """Candidates by priority, highest first."""
    by_priority: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        by_priority.setdefault(candidate.credential.priority, []).append(candidate)
    return tuple(Group.of(name, tuple(by_priority[priority])) for priority in sorted(by_priority, reverse=True))
