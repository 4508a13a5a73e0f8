"""What a tool needs in its environment to be intercepted: the proxy, and whom to trust beside the usual authorities.

Whose they are: `NODE_EXTRA_CA_CERTS` and `NODE_USE_ENV_PROXY` Node.js, `SSL_CERT_FILE` OpenSSL, Bun, Go and rustls,
`DENO_CERT` Deno, `REQUESTS_CA_BUNDLE` requests, `CURL_CA_BUNDLE` curl, `CODEX_CA_CERTIFICATE` Codex,
`GRPC_DEFAULT_SSL_ROOTS_FILE_PATH` gRPC.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path

import certifi

ADDING = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")
"""Name a file of authorities beside those that the runtime has."""
REPLACING = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "CODEX_CA_CERTIFICATE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
)
"""Name a file with all authorities, so that those for other hosts must be in it too."""

_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_LOCAL = ("127.0.0.1", "localhost", "::1")


def environment_for(inherited: Mapping[str, str], proxy_url: str, authorities: bytes, folder: Path) -> dict[str, str]:
    """The environment of a tool whose calls go through `proxy_url`.

    authorities: whom to trust beside those that the tool trusts anyway, PEM. folder: for files of both together.
    """
    environment = {name: value for name, value in inherited.items() if name.upper() != "ALL_PROXY"}
    # Tools send even calls to this machine through a proxy, where they are not told otherwise.
    told = inherited.get("NO_PROXY") or inherited.get("no_proxy") or ""
    no_proxy = ",".join(dict.fromkeys([*filter(None, map(str.strip, told.split(","))), *_LOCAL]))
    for name, value in (("HTTPS_PROXY", proxy_url), ("HTTP_PROXY", proxy_url), ("NO_PROXY", no_proxy)):
        environment[name] = environment[name.lower()] = value
    environment["NODE_USE_ENV_PROXY"] = "1"
    bundles = _Bundles(authorities, folder)
    for name in ADDING:
        environment[name] = bundles.with_those_of(inherited.get(name))
    for name in REPLACING:
        environment[name] = bundles.with_those_of(inherited.get(name) or system_bundle())
    return environment


def system_bundle() -> str:
    """The file with the authorities that this system trusts, or else those that Mozilla does."""
    compiled_in = ssl.get_default_verify_paths().openssl_cafile
    return next((path for path in (compiled_in, *_SYSTEM_BUNDLES) if Path(path).is_file()), certifi.where())


class _Bundles:
    """Files that hold other files' authorities and some more."""

    def __init__(self, authorities: bytes, folder: Path) -> None:
        self._authorities = authorities
        self._folder = folder
        self._made: dict[str, str] = {}

    def with_those_of(self, path: str | None) -> str:
        """The path of such a file. path: None: there are no others."""
        key = path or ""
        if key not in self._made:
            made = self._folder / f"authorities-{len(self._made)}.pem"
            made.write_bytes(_read(key) + self._authorities)
            self._made[key] = str(made)
        return self._made[key]


def _read(path: str) -> bytes:
    """What a file holds; nothing where it cannot be read, which its user then lives with anyway."""
    if not path:
        return b""
    try:
        return Path(path).read_bytes().rstrip() + b"\n"
    except OSError:
        return b""
