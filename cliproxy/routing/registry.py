"""What is known of models: the data file `models.json`, what upstreams were found to offer, and how a config's words
override both.

The file holds facts by the name of a model, and for each vendor the names that its accounts offer, with what is
different there. `thinking` is left out where nobody knows; null means that the model does not think.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Self

from cliproxy.routing import found as found_file
from cliproxy.routing.found import FoundList, FoundModel
from cliproxy.wire.model import ModelFacts, ThinkingFacts


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A model as one provider offers it."""

    name: str
    """As the provider calls it."""
    provider: str
    """Empty: the model as such, whoever offers it."""
    display_name: str
    facts: ModelFacts
    price: str = ""
    """`vendor/model` in the table of prices, where that does not know the model by its own name."""


@dataclass(frozen=True, slots=True)
class Plans:
    """How the accounts of one vendor differ in what they offer."""

    offers: Mapping[str, frozenset[str]]
    """Names of models by plan."""
    default: str
    """For a plan that nobody has heard of."""
    names: Mapping[str, str]
    """Other words for the plans."""

    def of(self, plan: str) -> frozenset[str]:
        """The names of the models that a plan offers."""
        plan = plan.lower()
        plan = self.names.get(plan, plan)
        return self.offers.get(plan) or self.offers[self.default]


class Registry:
    """Known models, by provider and by name. Immutable: what was found makes another registry."""

    def __init__(
        self,
        models: Sequence[RegisteredModel],
        plans: Mapping[str, Plans] | None = None,
        found: Mapping[tuple[str, str, str], Sequence[RegisteredModel]] | None = None,
    ) -> None:
        """plans: by vendor. found: what upstreams say they offer, in place of what is known of them, by provider,
        address and plan."""
        self._models = tuple(models)
        self._plans = dict(plans or {})
        self._found = dict(found or {})
        everything = [*self._models, *(model for offered in self._found.values() for model in offered)]
        self._by_provider = {(model.provider, model.name): model for model in everything}
        self._by_name: dict[str, RegisteredModel] = {}
        for model in self._models:
            self._by_name.setdefault(model.name, model)

    def of(self, provider: str, plan: str | None = None, base_url: str = "") -> list[RegisteredModel]:
        """What a provider's credential offers.

        plan: an account's, empty if it does not say; None: not an account. base_url: where a key's upstream is.
        """
        found = self._found.get((provider, base_url, plan or ""))
        if found is not None:
            return list(found)
        offered = [model for model in self._models if model.provider == provider]
        plans = self._plans.get(provider)
        if plan is None or plans is None:
            return offered
        names = plans.of(plan)
        return [model for model in offered if model.name in names]

    def display_name(self, name: str, provider: str = "") -> str:
        """For people; empty for an unknown model."""
        model = self._find(name, provider)
        return model.display_name if model else ""

    def priced_as(self, provider: str, name: str) -> tuple[str, str]:
        """Provider and model under which `cliproxy.usage.prices` finds the price of a provider's model."""
        model = self._find(name, provider)
        vendor, _, listed = model.price.partition("/") if model else ("", "", "")
        return (vendor, listed) if listed else (provider, name)

    def facts(
        self,
        name: str,
        *,
        provider: str = "",
        context_tokens: int | None = None,
        thinking: ThinkingFacts | None = None,
        input_modalities: tuple[str, ...] | None = None,
    ) -> ModelFacts:
        """What is known of an upstream model, with the config's words in place of the registry's where given.

        provider: who offers it; what differs there counts.
        """
        model = self._find(name, provider)
        known = model.facts if model else ModelFacts(name)
        return ModelFacts(
            name,
            max_output_tokens=known.max_output_tokens,
            context_tokens=context_tokens or known.context_tokens,
            thinking=thinking or known.thinking,
            input_modalities=input_modalities or known.input_modalities,
            known=known.known or thinking is not None,
        )

    def with_found(self, lists: Iterable[FoundList]) -> Self:
        """This registry, with what upstreams said they offer. What they left unsaid of a known model stays known."""
        found = {
            (one.provider, one.base_url, one.plan): [self._registered(one.provider, model) for model in one.models]
            for one in lists
        }
        return type(self)(self._models, self._plans, {**self._found, **found})

    def _find(self, name: str, provider: str) -> RegisteredModel | None:
        return self._by_provider.get((provider, name)) or self._by_name.get(name)

    def _registered(self, provider: str, found: FoundModel) -> RegisteredModel:
        known = self._find(found.name, provider)
        facts = known.facts if known else ModelFacts(found.name)
        says_no_thinking = found.thinks is False
        return RegisteredModel(
            found.name,
            provider,
            found.display_name or (known.display_name if known else found.name),
            ModelFacts(
                found.name,
                max_output_tokens=found.max_output_tokens or facts.max_output_tokens,
                context_tokens=found.context_tokens or facts.context_tokens,
                thinking=None if says_no_thinking else facts.thinking,
                input_modalities=found.input_modalities or facts.input_modalities,
                known=facts.known or says_no_thinking,
            ),
            known.price if known else "",
        )


@cache
def builtin_registry() -> Registry:
    """The registry of the data file that ships with the program."""
    data = json.loads(files("cliproxy.routing").joinpath("models.json").read_text("utf-8"))
    known = {name: _registered(name, entry) for name, entry in data["models"].items()}
    models, plans = list(known.values()), {}
    for vendor, offer in data["vendors"].items():
        differing = offer.get("facts", {})
        for name in offer["offers"]:
            entry = {**data["models"][name], **differing.get(name, {})}
            models.append(replace(_registered(name, entry), provider=vendor))
        if "plans" in offer:
            names = {plan: frozenset(names) for plan, names in offer["plans"].items()}
            plans[vendor] = Plans(names, offer["default_plan"], offer["plan_names"])
    return Registry(models, plans)


def registry_of(models_file: str) -> Registry:
    """The built-in registry with what upstreams were found to offer. models_file: as the config says."""
    return builtin_registry().with_found(found_file.load(found_file.path_of(models_file)))


def _registered(name: str, entry: Mapping[str, Any]) -> RegisteredModel:
    thinking = entry.get("thinking")
    facts = ModelFacts(
        name,
        max_output_tokens=entry.get("max_output_tokens"),
        context_tokens=entry.get("context_tokens"),
        thinking=ThinkingFacts(**{**thinking, "levels": tuple(thinking.get("levels", ()))}) if thinking else None,
        input_modalities=tuple(entry["input_modalities"]) if "input_modalities" in entry else None,
        known="thinking" in entry,
    )
    return RegisteredModel(name, "", entry["display_name"], facts, entry.get("price", ""))
