"""Fallback chains: a name of the user's own for several models, tried in order (`models:` in the config)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cliproxy.config.schema import ModelChain
from cliproxy.wildcard import matches
from cliproxy.wire.errors import GatewayError, Unavailable


class Judged(Protocol):
    """A failed attempt, as far as a chain is concerned."""

    @property
    def fault(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Chain:
    """The targets of one request. A model that is no chain is its own only target."""

    targets: tuple[str, ...]
    """Model names as clients send them."""
    on: tuple[str, ...] = ()
    """`quota`, `error`, `context`: after what to go on."""

    def goes_on(self, error: GatewayError, failures: Sequence[Judged]) -> bool:
        """Whether the next target is worth a try after this one failed with `error`."""
        faults = {failure.fault for failure in failures}
        if "context" in faults or error.code == "context_length_exceeded":
            return "context" in self.on
        if "quota" in faults or (isinstance(error, Unavailable) and error.status == 429):
            return "quota" in self.on
        return "error" in self.on and (isinstance(error, Unavailable) or bool(faults - {"request"}))


class Chains:
    """All chains of a configuration."""

    def __init__(self, chains: Mapping[str, ModelChain]) -> None:
        self._exact = {name: chain for name, chain in chains.items() if "*" not in name}
        self._patterns = [(name, chain) for name, chain in chains.items() if "*" in name]
        self._patterns.sort(key=lambda entry: -len(entry[0]))

    def of(self, model: str) -> Chain:
        """The chain of a model name; an exact name wins over the longest pattern."""
        found = self._exact.get(model)
        if found is None and self._patterns:
            found = next((chain for pattern, chain in self._patterns if matches(pattern, model)), None)
        # A target may be the chain's own name: then it means the model of that name.
        return Chain(found.targets, found.on) if found else Chain((model,))


class Offers(Protocol):
    """Whatever knows which model names are offered."""

    def offers(self, name: str) -> bool: ...


def with_preview(chain: Chain, offers: Offers) -> Chain:
    """The chain of a single model, with its preview version behind it for when the quota is used up, and the other way
    round (`quota-exceeded.switch-preview-model`)."""
    name = chain.targets[0]
    other = name.removesuffix("-preview") if name.endswith("-preview") else f"{name}-preview"
    return Chain((name, other), ("quota",)) if offers.offers(other) else chain
