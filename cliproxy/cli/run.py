"""`cliproxy run`: an unmodified tool, intercepted for the time that it runs, with nothing left behind."""

import os
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import Parameter

from cliproxy.certs.store import CertificateStore, certificates_dir
from cliproxy.cli import foreground
from cliproxy.cli.configuration import ConfigPath, shipped_config
from cliproxy.cli.intercepting import Interception, NotStarted, intercepting
from cliproxy.config.loading import ConfigFault, load_config
from cliproxy.config.schema import Config, Treatment
from cliproxy.interception.environment import environment_for
from cliproxy.interception.hosts import InterceptedHosts

OWN_FAILURE = 125
"""Exit code where it is not the tool that failed, as `env`, `timeout` and `docker run` have it."""


def run(
    *command: Annotated[str, Parameter(allow_leading_hyphen=True, help="The tool with its arguments, after --.")],
    config: ConfigPath = None,
    mode: Annotated[
        Treatment | None,
        Parameter(help="What becomes of the tool's API calls, in place of what the config says of each host."),
    ] = None,
    web: Annotated[bool, Parameter(negative="", help="With mitmweb's live view, whose address is told first.")] = False,
    proxy: Annotated[
        str | None, Parameter(help="URL of a mitmproxy with this gateway that already runs, in place of a new one.")
    ] = None,
) -> None:
    """Run a tool with its API calls intercepted. The exit code is the tool's.

    `observe` shows and counts them, `pool` puts your credentials in place of the tool's,
    `route` lets any provider answer.
    """
    if not command:
        _fail("name a tool to run, after --", 2)
    if not shutil.which(command[0]):
        if Path(command[0]).exists():
            _fail(f"{command[0]} cannot be started: it is not executable", foreground.NOT_EXECUTABLE)
        _fail(f"{command[0]} cannot be started: there is no such program", foreground.NOT_FOUND)
    path = config or shipped_config()
    try:
        settings = load_config(path).config
    except ConfigFault as fault:
        _fail(str(fault), OWN_FAILURE)
    # Until the tool runs, ending means cleaning up.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cliproxy-run-")))
        try:
            ca = _local_ca(settings)
            started = None if proxy else stack.enter_context(intercepting(path, mode, folder, web=web))
        except (NotStarted, OSError) as error:
            _fail(str(error), OWN_FAILURE)
        if started and started.web_url:
            print(f"live view: {started.web_url}", file=sys.stderr)
        environment = environment_for(
            os.environ, started.proxy_url if started else proxy or "", _authorities(settings, ca, started), folder
        )
        code = foreground.run(command, environment)
    sys.exit(code)


def _local_ca(config: Config) -> bytes:
    """The local CA's certificate, PEM; nothing where mitmproxy signs. Raises OSError."""
    if config.intercept.ca == "mitmproxy":
        return b""
    store = CertificateStore(certificates_dir(config.certs_dir))
    return store.authority(InterceptedHosts(config.intercept).names).own.certificate_pem


def _authorities(config: Config, ca: bytes, started: Interception | None) -> bytes:
    """Whom the tool has to trust."""
    if config.intercept.ca == "cliproxy" and not config.intercept.decrypt_others:
        return ca
    mitmproxys = started.authorities if started else Path("~/.mitmproxy/mitmproxy-ca-cert.pem").expanduser()
    return ca + mitmproxys.read_bytes()


def _exit(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def _fail(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(code)
