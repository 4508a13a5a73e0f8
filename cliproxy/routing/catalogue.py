"""Which credentials offer which model, by every name that a client may use for it.

A model is called by its `name`, `prefix/name`, `provider/name` or `provider:name`; the name may carry a thinking
suffix (`name(high)`), or a level (`codex/high/name`). Names that a config writes with a trailing `*` take every name
that begins so: an exact name wins over the longest such prefix, and that over `*` alone.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cliproxy.credentials.record import Candidate, Credential, Group, OfferedModel, grouped
from cliproxy.routing.registry import Registry
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import Format, ModelFacts, ReasoningIntent
from cliproxy.wire.reasoning import EFFORTS, parse_suffix

CLAUDE_CODE_PREFIX = "claude-code/"
"""Claude Code shows its user only models whose ids begin with `claude` or `anthropic`: what it is listed, all others
carry this in front."""
MAX_SHOWN = 200
"""Characters of an unknown name that an error repeats."""
MAX_REMEMBERED = 10_000
"""Names that are resolved once only; a client that invents names must not fill the memory."""

_ALSO_CALLED = ("openai", "codex")
"""OneProxy's other name for a provider; a provider that really has that name keeps it."""
_LEVEL = re.compile(r"(codex|antigravity)/([a-z]+)/(.+)")


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a client's model name means."""

    name: str
    """Without the thinking suffix."""
    groups: tuple[Group, ...]
    """Who can serve it, by priority; never empty."""
    reasoning: ReasoningIntent | None
    """What the suffix asks for."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model as a model list shows it."""

    name: str
    display_name: str
    provider: str
    facts: ModelFacts


class Catalogue:
    """The models of a set of credentials. Immutable: another config makes another catalogue."""

    def __init__(self, credentials: Sequence[Credential], registry: Registry, *, force_prefix: bool = False) -> None:
        """force_prefix: bare names reach only credentials without a prefix (`force-model-prefix`)."""
        self._registry = registry
        self._credentials = tuple(credentials)
        self._providers = {credential.provider for credential in credentials}
        self._by_name: dict[str, list[Candidate]] = {}
        self._by_prefix: dict[str, list[tuple[Credential, OfferedModel, int]]] = {}
        """Pattern without its `*` → who offers it, and how much of the name only says who is meant."""
        self._listed: dict[str, ListedModel] = {}
        self._resolved: dict[tuple[str, Format], Resolution] = {}
        for credential in credentials:
            for offered in self._offers(credential):
                self._add(credential, offered, force_prefix)

    def resolve(self, name: str, client: Format) -> Resolution:
        """Find who can serve a model to a client of a format.

        Raises ClientFault (404), naming the nearest known models.
        """
        resolution = self._resolved.get((name, client))
        if resolution is None:
            resolution = self._resolve(name, client)
            if len(self._resolved) < MAX_REMEMBERED:
                self._resolved[name, client] = resolution
        return resolution

    def _resolve(self, name: str, client: Format) -> Resolution:
        # A name that is written so in the config is one, whatever it looks like; a pattern takes no suffix for a name.
        bare, intent = (name, None) if name in self._by_name else parse_suffix(name)
        candidates = self._find(bare)
        if not candidates and bare != name:
            bare, intent, candidates = name, None, self._find(name)
        if not candidates and (other := self._other_name(name)):
            return self._resolve(other, client)
        if not candidates:
            raise ClientFault(self._unknown(bare), status=404, code="model_not_found", param="model")
        self._check_level(name, candidates)
        serving = [candidate for candidate in candidates if candidate.credential.serves(client)]
        if not serving:
            message = f"{bare!r} is not offered to {client} clients (convert-from)"
            raise ClientFault(message, status=404, code="model_not_found", param="model")
        return Resolution(bare, grouped(bare, serving), intent)

    def _other_name(self, name: str) -> str:
        """The same model by its provider's own name; empty where `name` has none."""
        theirs, ours = _ALSO_CALLED
        is_theirs = name.startswith((f"{theirs}/", f"{theirs}:"))
        return ours + name[len(theirs) :] if is_theirs and ours in self._providers else ""

    def _check_level(self, name: str, candidates: Sequence[Candidate]) -> None:
        """Refuse a level in the name that the model does not take: whoever wrote it there meant it."""
        written = None if name in self._by_name else _LEVEL.fullmatch(name)
        if not written:
            return
        provider, level, model = written.groups()
        if level not in EFFORTS:
            candidates = self._by_name.get(f"{provider}/{model}", [])
        if candidates and not any(level in _levels(candidate.facts) for candidate in candidates):
            known = ", ".join(_levels(candidates[0].facts)) or "none"
            message = f"{provider}/{model} does not take the reasoning effort {level!r}; it takes {known}"
            raise ClientFault(message, code="unsupported_reasoning_effort", param="model")

    def offers(self, name: str) -> bool:
        """Whether any credential offers a model of this name, which may carry a thinking suffix."""
        return bool(self._find(name) or self._find(parse_suffix(name)[0]))

    def meant(self, name: str) -> str:
        """A name from the list that Claude Code is shown, as everyone else calls the model; other names stay."""
        return name if name in self._by_name else name.removeprefix(CLAUDE_CODE_PREFIX)

    def describe(self, name: str, targets: Sequence[str]) -> ListedModel | None:
        """A name of the user's own for other models as a list shows it: what the first that is known can do."""
        for target in targets:
            for candidate in self._find(parse_suffix(target)[0]):
                return ListedModel(name, name, candidate.credential.provider, candidate.facts)
        return None

    def speaking(self, formats: Iterable[Format]) -> tuple[Candidate, ...]:
        """All credentials of the given upstream formats, for calls that have no model; best format first."""
        unnamed = ModelFacts("")
        return tuple(
            Candidate(credential, "", unnamed)
            for format_ in formats
            for credential in self._credentials
            if format_ in credential.formats and credential.provider != "demo"
        )

    def narrowed(self, candidates: tuple[Candidate, ...], model: str, *, required: bool) -> tuple[Candidate, ...]:
        """Those of `candidates` that offer `model`.

        Where none does: all of them, asked for that very name if `required`.
        """
        if not model:
            return candidates
        allowed = {candidate.credential.id for candidate in candidates}
        fitting = tuple(found for found in self._find(model) if found.credential.id in allowed)
        if fitting or not required:
            return fitting or candidates
        return tuple(self._candidate(candidate.credential, model) for candidate in candidates)

    def listed(self) -> list[ListedModel]:
        """All models under the names that lists show, in the order of the config."""
        return list(self._listed.values())

    def _offers(self, credential: Credential) -> Iterator[OfferedModel]:
        offered = credential.models or tuple(
            OfferedModel(model.name, model.name, model.display_name)
            for model in self._registry.of(credential.provider, base_url=credential.base_url)
        )
        for model in offered:
            if not credential.excludes(model.name) and not credential.excludes(model.upstream):
                yield model

    def _add(self, credential: Credential, offered: OfferedModel, force_prefix: bool) -> None:
        bare = not (force_prefix and credential.prefix)
        shown = [offered.name] if bare else []
        if credential.prefix:
            shown.append(f"{credential.prefix}/{offered.name}")
        called = [f"{credential.provider}/{offered.name}", f"{credential.provider}:{offered.name}"]
        for name in (*shown, *called):
            if name.endswith("*"):
                addressing = len(name) - len(offered.name)
                self._by_prefix.setdefault(name[:-1], []).append((credential, offered, addressing))
                continue
            candidate = Candidate(credential, offered.upstream, self._facts(credential, offered), offered.force_mapping)
            same = self._by_name.setdefault(name, [])
            if candidate not in same:
                same.append(candidate)
            if name in shown:
                known_as = self._registry.display_name(offered.upstream, credential.provider)
                display = offered.display_name or known_as or name
                self._listed.setdefault(name, ListedModel(name, display, credential.provider, candidate.facts))

    def _candidate(self, credential: Credential, model: str) -> Candidate:
        """For a model that the credential does not list."""
        return Candidate(credential, model, self._registry.facts(model, provider=credential.provider))

    def _facts(self, credential: Credential, offered: OfferedModel, upstream: str | None = None) -> ModelFacts:
        return self._registry.facts(
            upstream or offered.upstream,
            provider=credential.provider,
            context_tokens=offered.context_tokens or None,
            thinking=offered.thinking,
            input_modalities=offered.input_modalities,
        )

    def _find(self, name: str) -> tuple[Candidate, ...]:
        if found := self._by_name.get(name):
            return tuple(found)
        fitting = [prefix for prefix in self._by_prefix if name.startswith(prefix)]
        if fitting:
            best = max(fitting, key=len)
            return tuple(self._from_pattern(name, self._by_prefix[best]))
        return tuple(self._named_explicitly(name))

    def _from_pattern(self, name: str, offers: list[tuple[Credential, OfferedModel, int]]) -> Iterator[Candidate]:
        for credential, offered, addressing in offers:
            model = name[addressing:]
            if not credential.excludes(model):
                upstream = model if offered.upstream.endswith("*") else offered.upstream
                yield Candidate(credential, upstream, self._facts(credential, offered, upstream), offered.force_mapping)

    def _named_explicitly(self, name: str) -> Iterator[Candidate]:
        """`provider/any-model`: a provider that the client names gets ids that nobody has heard of."""
        for credential in self._credentials:
            for separator in "/:":
                provider, found, model = name.partition(separator)
                if found and model and provider == credential.provider != "demo" and not credential.excludes(model):
                    yield self._candidate(credential, model)

    def _unknown(self, name: str) -> str:
        name = name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}…"
        nearest = difflib.get_close_matches(name, self._by_name, n=3, cutoff=0.4) or list(self._listed)[:3]
        if not nearest:
            return f"unknown model {name!r}: no credential is configured that offers a model"
        return (
            f"unknown model {name!r}; known are for example {', '.join(map(repr, nearest))} (GET /v1/models lists all)"
        )


def _levels(facts: ModelFacts) -> Sequence[str]:
    """The levels that a model takes: all, where it has budgets or nothing is known of it."""
    if facts.thinking is None:
        return () if facts.known else EFFORTS
    return facts.thinking.levels or EFFORTS
