"""The `--config` option that the commands share."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cliproxy.config.loading import ConfigFault, load_config
from cliproxy.config.schema import Config

ConfigPath = Annotated[Path | None, Parameter(name="--config", help="Path of config.yaml. Default: the shipped one.")]


def load(path: Path | None) -> Config:
    """The config, or the end of the program with its faults on stderr and exit code 1."""
    try:
        return load_config(path or shipped_config()).config
    except ConfigFault as fault:
        print(fault, file=sys.stderr)
        raise SystemExit(1) from None


def shipped_config() -> Path:
    return addon().parent / "config.yaml"


def addon() -> Path:
    """The script that mitmproxy loads."""
    spec = find_spec("cliproxy_addon")
    assert spec and spec.origin
    return Path(spec.origin)
