"""How to have the local CA trusted: by each system, and by runtimes that do not ask their system."""

import shlex
from pathlib import Path
from typing import NamedTuple

from cliproxy.interception.environment import system_bundle

_NAME = "cliproxy-local-ca"


class Way(NamedTuple):
    """How one of them is told."""

    who: str
    command: str


def ways_of_systems(ca: Path) -> tuple[Way, ...]:
    """For all programs of a system that ask it."""
    path = shlex.quote(str(ca))
    debian, fedora = "/usr/local/share/ca-certificates", "/etc/pki/ca-trust/source/anchors"
    keychain = "~/Library/Keychains/login.keychain-db"
    return (
        Way("Debian, Ubuntu", f"sudo cp {path} {debian}/{_NAME}.crt && sudo update-ca-certificates"),
        Way("Fedora, RHEL", f"sudo cp {path} {fedora}/{_NAME}.pem && sudo update-ca-trust"),
        Way("Arch", f"sudo trust anchor --store {path}"),
        Way("macOS", f"security add-trusted-cert -r trustRoot -k {keychain} {path}"),
        Way("Windows", f'certutil -user -addstore Root "{ca}"'),
        Way("Firefox", f"Settings > Privacy & Security > View Certificates > Authorities > Import: {ca}"),
    )  # fmt: skip


def ways_of_runtimes(ca: Path) -> tuple[Way, ...]:
    """For one program, by its environment. Some take a file with all authorities, so that it is put together first."""
    path, bundle = shlex.quote(str(ca)), shlex.quote(str(ca.with_name("bundle.pem")))
    return (
        Way("Node.js, Bun: Claude Code, Gemini CLI, Qwen Code, opencode", f"export NODE_EXTRA_CA_CERTS={path}"),
        Way("Deno", f"export DENO_CERT={path}"),
        Way("Codex", f"export CODEX_CA_CERTIFICATE={path}"),
        Way("Python, Go, Rust, curl", f"cat {shlex.quote(system_bundle())} {path} > {bundle}"),
        Way("", f"export SSL_CERT_FILE={bundle} REQUESTS_CA_BUNDLE={bundle}"),
    )
