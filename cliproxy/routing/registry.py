"""What is known of models: the data file `models.json`, and how a config's words override it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from cliproxy.wire.model import ModelFacts, ThinkingFacts


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A model of the data file."""

    name: str
    provider: str
    display_name: str
    facts: ModelFacts


class Registry:
    """Known models by the name that their provider uses."""

    def __init__(self, models: Sequence[RegisteredModel]) -> None:
        self._models = {model.name: model for model in models}

    def of(self, provider: str) -> list[RegisteredModel]:
        """All models of a provider."""
        return [model for model in self._models.values() if model.provider == provider]

    def display_name(self, name: str) -> str:
        """For people; empty for an unknown model."""
        model = self._models.get(name)
        return model.display_name if model else ""

    def facts(
        self,
        name: str,
        *,
        context_tokens: int | None = None,
        thinking: ThinkingFacts | None = None,
        input_modalities: tuple[str, ...] | None = None,
    ) -> ModelFacts:
        """What is known of an upstream model, with the config's words in place of the registry's where given."""
        model = self._models.get(name)
        known = model.facts if model else ModelFacts(name)
        return ModelFacts(
            name,
            max_output_tokens=known.max_output_tokens,
            context_tokens=context_tokens or known.context_tokens,
            thinking=thinking or known.thinking,
            input_modalities=input_modalities or known.input_modalities,
            known=known.known or thinking is not None,
        )


@cache
def builtin_registry() -> Registry:
    """The registry of the data file that ships with the program."""
    text = files("cliproxy.routing").joinpath("models.json").read_text("utf-8")
    return Registry([_registered(entry) for entry in json.loads(text)["models"]])


def _registered(entry: dict[str, Any]) -> RegisteredModel:
    thinking = entry.get("thinking")
    facts = ModelFacts(
        entry["name"],
        max_output_tokens=entry.get("max_output_tokens"),
        context_tokens=entry.get("context_tokens"),
        thinking=ThinkingFacts(**{**thinking, "levels": tuple(thinking.get("levels", ()))}) if thinking else None,
        input_modalities=tuple(entry["input_modalities"]) if "input_modalities" in entry else None,
        known=True,
    )
    return RegisteredModel(entry["name"], entry["provider"], entry["display_name"], facts)
