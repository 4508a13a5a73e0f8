"""`cliproxy setup`: a tool's own settings, changed so that it uses the gateway, and back."""

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.prompt import Confirm, IntPrompt

from cliproxy.cli.configuration import ConfigPath, load
from cliproxy.cli.offers import catalogue_of
from cliproxy.cli.setup_diff import difference
from cliproxy.config.schema import ClientKey, Config
from cliproxy.routing.catalogue import Catalogue, ListedModel
from cliproxy.routing.chains import Chains
from cliproxy.routing.listing import everything_listed
from cliproxy.secrets import mask
from cliproxy.setup import TOOLS
from cliproxy.setup.address import gateway_url
from cliproxy.setup.files import FileFault, Plan, plan_setup, plan_undo
from cliproxy.setup.tool import Gateway, Tool
from cliproxy.wildcard import matches
from cliproxy.wire.errors import ClientFault

Name = Literal["claude", "codex", "gemini", "qwen", "opencode", "amp"]

NO_KEY = "cliproxy"
"""Tools insist on a key, though a gateway without api-keys looks at none."""

_KEY = "The client key that the tool is to use, or its name. Default: that of api-keys; of several, you are asked."
_MODEL = "Model for whatever the tool asks. Default: the names that it asks for by itself."
_URL = "Where the gateway is, if not where config.yaml says."


class Refused(Exception):
    """It cannot be done like this; the message says why."""


def setup(
    tool: Annotated[Name, Parameter(help="Which tool.")],
    /,
    *,
    undo: Annotated[bool, Parameter(negative="", help="Take our settings out again.")] = False,
    dry_run: Annotated[bool, Parameter(negative="", help="Only show what would change.")] = False,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask.")] = False,
    key: Annotated[str, Parameter(help=_KEY)] = "",
    model: Annotated[str, Parameter(help=_MODEL)] = "",
    url: Annotated[str, Parameter(help=_URL)] = "",
    config: ConfigPath = None,
) -> None:
    """Point a tool at the gateway, by its own settings. What would change is shown first; the originals are kept."""
    chosen, console = TOOLS[tool], Console(highlight=False, markup=False, soft_wrap=True)
    try:
        if undo:
            plans, advice = _undoing(chosen), []
            done = f"{chosen.title} goes where it went before. Restart it."
            idle = f"There are no settings of ours for {chosen.title}."
        else:
            settings = load(config)
            gateway = _gateway(chosen, settings, key=key, model=model, url=url)
            plans, advice = _setting_up(chosen, gateway), list(_advice(chosen, settings, gateway))
            done = f"{chosen.title} goes to {gateway.url}. Restart it."
            idle = f"{chosen.title} goes to {gateway.url} already."
        _carry_out(plans, console, dry_run=dry_run, yes=yes)
    except (FileFault, Refused) as fault:
        print(fault, file=sys.stderr)
        raise SystemExit(1) from None
    if not plans or not dry_run:
        advice.insert(0, done if plans else idle)
    for sentence in advice:
        console.print(sentence)


def _undoing(tool: Tool) -> list[Plan]:
    plans = (plan_undo(file.path, file.syntax) for file in tool.files(Path.home(), os.environ))
    return [plan for plan in plans if plan]


def _setting_up(tool: Tool, gateway: Gateway) -> list[Plan]:
    files = tool.files(Path.home(), os.environ)
    plans = (
        plan_setup(file.path, file.syntax, settings)
        for file, settings in zip(files, tool.settings(gateway), strict=True)
    )
    return [plan for plan in plans if plan.changes]


def _carry_out(plans: Sequence[Plan], console: Console, *, dry_run: bool, yes: bool) -> None:
    for plan in plans:
        console.print(difference(plan), end="")
    if dry_run:
        return
    if not yes and any(plan.changes for plan in plans):
        if not sys.stdin.isatty():
            raise Refused("nothing was written: without a terminal, --yes agrees to it")
        if not Confirm.ask("Write this?", console=console, default=False):
            raise Refused("nothing was written")
    for plan in plans:
        plan.carry_out()


# ---------------------------------------------------------------- the gateway


def _gateway(tool: Tool, config: Config, *, key: str, model: str, url: str) -> Gateway:
    if not url and not config.port:
        raise Refused("config.yaml has the port 0, any free one: say with --url where the gateway is")
    client = _client(config.api_keys, key)
    catalogue = catalogue_of(config)
    models = tuple(_usable(everything_listed(catalogue, config.models), client))
    if model and not url:
        _check_model(model, config, catalogue)
    if not model and tool.needs_model:
        if not models:
            raise Refused(f"{tool.title} needs a model, and the gateway offers none: say one with --model")
        model = models[0].name
    secret = client.key.get_secret_value() if client else key or NO_KEY
    return Gateway(url.rstrip("/") or gateway_url(config), secret, models, model)


def _client(keys: Sequence[ClientKey], wanted: str) -> ClientKey | None:
    """The client key that is meant; None where none of the config's is. Raises Refused."""
    usable = [key for key in keys if not (key.expires and key.expires <= datetime.now(UTC))]
    if wanted:
        found = next((key for key in usable if wanted in (key.name, key.key.get_secret_value())), None)
        if keys and not found:
            raise Refused("--key: no client key of api-keys has this name or value")
        return found
    if keys and not usable:
        raise Refused("every client key of api-keys has expired")
    if len(usable) < 2:
        return usable[0] if usable else None
    names = [key.name or mask(key.key.get_secret_value()) for key in usable]
    if not sys.stdin.isatty():
        raise Refused(f"there are several client keys: choose with --key one of {', '.join(names)}")
    for number, name in enumerate(names, 1):
        print(f"{number}  {name}")
    chosen = IntPrompt.ask("Which client key", choices=[str(number) for number in range(1, len(names) + 1)])
    return usable[chosen - 1]


def _usable(models: Sequence[ListedModel], client: ClientKey | None) -> Iterator[ListedModel]:
    for model in models:
        if client and client.models and not any(matches(pattern, model.name) for pattern in client.models):
            continue
        if client and client.providers and model.provider not in client.providers:
            continue
        yield model


def _check_model(model: str, config: Config, catalogue: Catalogue) -> None:
    """Raises Refused for a model that the gateway would not find."""
    try:
        catalogue.resolve(Chains(config.models).of(model).targets[0], "openai-chat")
    except ClientFault as fault:
        raise Refused(f"--model: {fault.message}") from None


# ---------------------------------------------------------------- what to know


def _advice(tool: Tool, config: Config, gateway: Gateway) -> Iterator[str]:
    if tool.advice:
        yield tool.advice
    if lack := tool.lacks(config):
        yield f"config.yaml: {lack}."
    for name in tool.variables:
        if name in os.environ:
            yield f"{name} of the environment goes before its files: unset it."
    if tool.asks_for and not gateway.model and not _offers_any(tool.asks_for, config, gateway):
        yield f"The gateway offers no model {tool.asks_for}…, as {tool.title} asks for: choose one with --model."
    if gateway.url.startswith("https:"):
        yield "It must trust the certificate: `cliproxy certs` shows how."


def _offers_any(beginning: str, config: Config, gateway: Gateway) -> bool:
    names = [*(model.name for model in gateway.models), *config.models]
    return any(name.startswith((beginning, "*")) for name in names)
