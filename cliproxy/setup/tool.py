"""What is known of a tool that can be pointed at the gateway."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cliproxy.config.schema import Config
from cliproxy.routing.catalogue import ListedModel
from cliproxy.setup.syntax import MISSING, Keys, Settings, Syntax, value_at
from cliproxy.wire.model import ModelFacts

type Environment = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway as a tool's settings describe it."""

    url: str
    """Scheme, host and port."""
    key: str
    """A client key; where none is asked for, some word, since tools insist on one."""
    models: tuple[ListedModel, ...] = ()
    """All that it offers."""
    model: str = ""
    """The one to use; empty: what the tool asks for by itself."""

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    def facts_of(self, model: str) -> ModelFacts:
        """What is known of a model, which may be nothing."""
        return next((listed.facts for listed in self.models if listed.name == model), ModelFacts(model))


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """One of a tool's files; it may be missing."""

    path: Path
    syntax: Syntax


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where a tool's settings send it."""

    url: str
    key: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool, its files and our settings in them."""

    name: str
    title: str
    program: str
    """What it is called on the PATH."""
    files: Callable[[Path, Environment], tuple[SettingsFile, ...]]
    """From the home directory and the environment."""
    settings: Callable[[Gateway], tuple[Settings, ...]]
    """For each file, in the order of `files`."""
    pointer: Callable[[Sequence[Mapping[str, Any]]], Pointer | None]
    """From the contents of the files; None: it goes to its vendor."""
    variables: tuple[str, ...] = ()
    """Environment variables that go before the files."""
    asks_for: str = ""
    """How the names begin of the models that it asks for by itself; empty: it has none of its own."""
    needs_model: bool = False
    """Its settings must name a model."""
    advice: str = ""
    """What the user should know beside."""
    lacks: Callable[[Config], str] = lambda config: ""
    """What the gateway's config has to say for it and does not; empty: nothing."""


def text_at(document: Mapping[str, Any], *keys: str) -> str:
    """A text in a tool's settings; empty where there is none."""
    value = value_at(document, keys)
    return value if value is not MISSING and isinstance(value, str) else ""


def folder(home: Path, env: Environment, variable: str, base: str) -> Path:
    """A directory that an environment variable names, else one below the home directory."""
    named = env.get(variable, "")
    return Path(named).expanduser() if named else home / base


def under(table: Keys, settings: Mapping[str, Any]) -> dict[Keys, Any]:
    """Settings of one table, those left out that say nothing."""
    return {(*table, name): value for name, value in settings.items() if value not in (None, "")}
