"""`cliproxy serve | models`: starts the gateway in mitmproxy, and shows what it offers."""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from cliproxy.config.loading import ConfigFault, load_config
from cliproxy.config.schema import Config
from cliproxy.credentials.from_config import credentials_of
from cliproxy.routing.catalogue import Catalogue
from cliproxy.routing.registry import builtin_registry

app = App(name="cliproxy", help="An AI gateway that lives inside mitmproxy.")

ConfigPath = Annotated[Path | None, Parameter(name="--config", help="Path of config.yaml. Default: the shipped one.")]


@app.command
def serve(
    *mitmproxy_args: Annotated[str, Parameter(allow_leading_hyphen=True, help="Passed to mitmproxy, after --.")],
    config: ConfigPath = None,
    host: Annotated[str | None, Parameter(help="Address to listen on, in place of the config's.")] = None,
    port: Annotated[int | None, Parameter(help="Port to listen on, in place of the config's.")] = None,
    web: Annotated[bool, Parameter(negative="", help="With mitmweb's live view in place of mitmdump.")] = False,
) -> None:
    """Start the gateway. Stops with Ctrl-C."""
    path = config or _shipped_config()
    settings = _load(path)
    listen_host = settings.host if host is None else host
    address = f"{listen_host}:{settings.port if port is None else port}".lstrip(":")
    arguments = ["-s", str(_addon()), "--set", f"cliproxy_config={path}"]
    arguments += ["--mode", f"reverse:http://cliproxy.internal@{address}", *mitmproxy_args]
    program = _mitmproxy_program("mitmweb" if web else "mitmdump")
    # In place of this process: signals and the exit code are mitmproxy's own.
    os.execv(program, [program, *arguments])  # noqa: S606 - no shell wanted


@app.command
def models(*, config: ConfigPath = None) -> None:
    """List the models that the configured credentials offer."""
    catalogue = Catalogue(credentials_of(_load(config or _shipped_config())), builtin_registry())
    table = Table("model", "provider", "context", "output", box=None)
    for model in catalogue.listed():
        facts = model.facts
        table.add_row(model.name, model.provider, str(facts.context_tokens or ""), str(facts.max_output_tokens or ""))
    Console().print(table)


def _load(path: Path) -> Config:
    """The config, or the end of the program with its faults on stderr and exit code 1."""
    try:
        return load_config(path).config
    except ConfigFault as fault:
        print(fault, file=sys.stderr)
        raise SystemExit(1) from None


def _mitmproxy_program(name: str) -> str:
    """mitmproxy's program of this installation, else the one on the PATH."""
    beside = Path(sys.executable).with_name(name)
    program = str(beside) if beside.exists() else shutil.which(name)
    if not program:
        raise SystemExit(f"{name} is not installed beside {sys.executable}: pip install mitmproxy")
    return program


def _addon() -> Path:
    spec = find_spec("cliproxy_addon")
    assert spec and spec.origin
    return Path(spec.origin)


def _shipped_config() -> Path:
    return _addon().parent / "config.yaml"


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
