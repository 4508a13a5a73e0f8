"""The config file: whether it can be read, what it warns of, and who else can read its keys."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from cliproxy.config.loading import ConfigFault, load_config
from cliproxy.config.schema import Config
from cliproxy.credentials.from_config import credentials_of
from cliproxy.doctor.finding import Finding


def configuration(path: Path) -> tuple[Config | None, list[Finding]]:
    """The config, None where it is faulty, and what is to be said of it."""
    try:
        loaded = load_config(path)
    except ConfigFault as fault:
        return None, [Finding("config", "error", problem) for problem in fault.problems]
    config = loaded.config
    findings = [Finding("config", "warning", warning) for warning in loaded.warnings]
    findings += _exposure(path, config)
    return config, [Finding("config", "ok", f"{path} is valid"), *findings]


def _exposure(path: Path, config: Config) -> Iterator[Finding]:
    has_secrets = bool(config.api_keys) or any(credential.secret for credential in credentials_of(config))
    if has_secrets and is_readable_by_others(path):
        yield Finding(
            "config", "warning", f"{path} holds keys, and others on this machine can read it", f"chmod 600 {path}"
        )


def is_readable_by_others(path: Path) -> bool:
    """Whether a file's mode lets others read it; unknown on Windows."""
    return os.name != "nt" and bool(stat.S_IMODE(path.stat().st_mode) & 0o044)
