"""Which credentials offer which model, by every name that a client may use for it.

A model is called by its `name`, `prefix/name`, `provider/name` or `provider:name`; the name may carry a thinking
suffix (`name(high)`). Names that a config writes with a trailing `*` take every name that begins so: an exact
name wins over the longest such prefix, and that over `*` alone.
"""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cliproxy.credentials.record import Candidate, Credential, Group, OfferedModel, grouped
from cliproxy.routing.registry import Registry
from cliproxy.wire.errors import ClientFault
from cliproxy.wire.model import Format, ModelFacts, ReasoningIntent
from cliproxy.wire.reasoning import parse_suffix

MAX_SHOWN = 200
"""Characters of an unknown name that an error repeats."""
MAX_REMEMBERED = 10_000
"""Names that are resolved once only; a client that invents names must not fill the memory."""


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
        if not candidates:
            raise ClientFault(self._unknown(bare), status=404, code="model_not_found", param="model")
        serving = [candidate for candidate in candidates if candidate.credential.serves(client)]
        if not serving:
            message = f"{bare!r} is not offered to {client} clients (convert-from)"
            raise ClientFault(message, status=404, code="model_not_found", param="model")
        return Resolution(bare, grouped(bare, serving), intent)

    def offers(self, name: str) -> bool:
        """Whether any credential offers a model of this name."""
        return bool(self._find(name))

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
        return tuple(Candidate(candidate.credential, model, self._registry.facts(model)) for candidate in candidates)

    def listed(self) -> list[ListedModel]:
        """All models under the names that lists show, in the order of the config."""
        return list(self._listed.values())

    def _offers(self, credential: Credential) -> Iterator[OfferedModel]:
        offered = credential.models or tuple(
            OfferedModel(model.name, model.name, model.display_name) for model in self._registry.of(credential.provider)
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
                display = offered.display_name or self._registry.display_name(offered.upstream) or name
                self._listed.setdefault(name, ListedModel(name, display, credential.provider, candidate.facts))

    def _facts(self, credential: Credential, offered: OfferedModel, upstream: str | None = None) -> ModelFacts:
        return self._registry.facts(
            upstream or offered.upstream,
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
                    yield Candidate(credential, model, self._registry.facts(model))

    def _unknown(self, name: str) -> str:
        name = name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}…"
        nearest = difflib.get_close_matches(name, self._by_name, n=3, cutoff=0.4) or list(self._listed)[:3]
        if not nearest:
            return f"unknown model {name!r}: no credential is configured that offers a model"
        return (
            f"unknown model {name!r}; known are for example {', '.join(map(repr, nearest))} (GET /v1/models lists all)"
        )
