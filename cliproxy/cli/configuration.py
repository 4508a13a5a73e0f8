"""The `--config` option that the commands share."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cliproxy.config.loading import ConfigFault, load_config
from cliproxy.config.schema import Config
from cliproxy.stores.choice import Chosen, chosen, placed
from cliproxy.stores.opening import make_alike
from cliproxy.stores.store import StoreAway

ConfigPath = Annotated[Path | None, Parameter(name="--config", help="Path of config.yaml. Default: the shipped one.")]


def load(path: Path | None) -> Config:
    """The config, or the end of the program with its faults on stderr and exit code 1."""
    store = chosen()
    try:
        if store:
            return placed(load_config(store.here.config_path).config, store)
        return load_config(path or shipped_config()).config
    except ConfigFault as fault:
        print(fault, file=sys.stderr)
        raise SystemExit(1) from None


@contextmanager
def alike_with_store(store: Chosen | None, seed: Path) -> Iterator[None]:
    """Have what a command reads be as the store has it, and the store have what the command has changed.

    seed: the config of a store that has none yet.
    """
    if store is None:
        yield
        return
    _make_alike(store, seed)
    try:
        yield
    finally:
        _make_alike(store, seed)


def _make_alike(store: Chosen, seed: Path) -> None:
    try:
        trouble = make_alike(store, seed)
    except StoreAway as away:
        print(f"the store cannot be used, and there is no copy of its config here: {away}", file=sys.stderr)
        raise SystemExit(1) from None
    if trouble:
        print(f"the store is away, {store.here.folder} is used: {trouble}", file=sys.stderr)


def shipped_config() -> Path:
    return addon().parent / "config.yaml"


def addon() -> Path:
    """The script that mitmproxy loads."""
    spec = find_spec("cliproxy_addon")
    assert spec and spec.origin
    return Path(spec.origin)
