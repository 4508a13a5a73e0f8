"""`cliproxy models`: what the gateway offers, and asking the upstreams for their own lists."""

import json
import ssl
import sys
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from cliproxy.accounts.accounts import Accounts
from cliproxy.cli.configuration import ConfigPath, load
from cliproxy.config.schema import Config
from cliproxy.credentials.from_config import credentials_of
from cliproxy.credentials.record import Credential
from cliproxy.discovery import Discovery, discover
from cliproxy.routing import found
from cliproxy.routing.catalogue import Catalogue, ListedModel
from cliproxy.routing.listing import everything_listed
from cliproxy.routing.registry import Registry, registry_of
from cliproxy.transport.client import HttpTransport, TimeLimits
from cliproxy.wire.model import ThinkingFacts

_LIMITS = TimeLimits(connect_s=10.0, first_byte_s=30.0, idle_s=30.0)


async def models(
    *,
    config: ConfigPath = None,
    refresh: Annotated[
        bool, Parameter(negative="", help="Ask the upstreams for their lists first, and remember the answers.")
    ] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="As JSON, for scripts.")] = False,
) -> None:
    """List the models that the keys and accounts offer, with their limits."""
    settings = load(config)
    if refresh:
        await _refresh(settings)
    registry = registry_of(settings.models_file)
    credentials = [*_accounts(settings, registry).credentials(), *credentials_of(settings)]
    catalogue = Catalogue(credentials, registry, force_prefix=settings.force_model_prefix)
    listed = everything_listed(catalogue, settings.models)
    if as_json:
        print(json.dumps([_as_json(model) for model in listed], ensure_ascii=False, indent=2))
    else:
        _show(listed)


def _accounts(config: Config, registry: Registry) -> Accounts:
    accounts = Accounts(config, registry)
    accounts.load()
    return accounts


async def _refresh(config: Config) -> None:
    """Ask, and keep what was found; ends the program with exit code 1 where nothing was."""
    path = found.path_of(config.models_file)
    accounts = _accounts(config, registry_of(config.models_file))
    credentials: list[Credential] = [*accounts.credentials(), *credentials_of(config)]
    transport = HttpTransport(ssl.create_default_context(), _LIMITS, config.proxy_url or None)
    try:
        discoveries = await discover(credentials, transport)
    finally:
        await transport.close()
        await accounts.close()
    for discovery in discoveries:
        print(_told(discovery), file=sys.stderr)
    lists = [discovery.found for discovery in discoveries if discovery.found]
    if not lists:
        print("no upstream was found that lists its models", file=sys.stderr)
        raise SystemExit(1)
    try:
        found.save(path, lists)
    except OSError as error:
        print(f"{path} cannot be written: {error.strerror}", file=sys.stderr)
        raise SystemExit(1) from None
    print(f"kept in {path}", file=sys.stderr)


def _told(discovery: Discovery) -> str:
    if discovery.found is None:
        return f"{discovery.provider}: {discovery.trouble}"
    return f"{discovery.provider}: {len(discovery.found.models)} models"


def _show(listed: list[ListedModel]) -> None:
    table = Table("model", "provider", "context", "output", "thinking", box=None)
    for model in listed:
        facts = model.facts
        table.add_row(
            model.name,
            model.provider,
            str(facts.context_tokens or ""),
            str(facts.max_output_tokens or ""),
            _thinking(facts.thinking),
        )
    Console().print(table)


def _thinking(thinking: ThinkingFacts | None) -> str:
    if thinking is None:
        return ""
    levels = "…".join(dict.fromkeys((thinking.levels[0], thinking.levels[-1]))) if thinking.levels else ""
    budget = f"{thinking.min or 0}…{thinking.max}" if thinking.max is not None else ""
    return " ".join(filter(None, (levels, budget)))


def _as_json(model: ListedModel) -> dict[str, Any]:
    facts, thinking = model.facts, model.facts.thinking
    return {
        "model": model.name,
        "provider": model.provider,
        "display_name": model.display_name,
        "context_tokens": facts.context_tokens,
        "max_output_tokens": facts.max_output_tokens,
        "input_modalities": facts.input_modalities,
        "thinking": {
            "min": thinking.min,
            "max": thinking.max,
            "levels": thinking.levels,
            "zero_allowed": thinking.zero_allowed,
            "dynamic_allowed": thinking.dynamic_allowed,
        }
        if thinking
        else None,
    }
