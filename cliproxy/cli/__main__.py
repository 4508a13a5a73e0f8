"""The `cliproxy` command: starts the gateway in mitmproxy, shows what it offers, keeps its accounts."""

import os
from typing import Annotated

from cyclopts import App, Parameter

from cliproxy.cli import certs, credentials, doctor, flows, login, models, run, setup, usage
from cliproxy.cli.configuration import ConfigPath, addon, alike_with_store, load, shipped_config
from cliproxy.cli.mitmproxy_program import mitmproxy_program
from cliproxy.stores.choice import chosen

app = App(name="cliproxy", help="An AI gateway that lives inside mitmproxy.")
app.command(certs.certs)
app.command(credentials.app)
app.command(doctor.doctor)
app.command(flows.app)
app.command(login.login)
app.command(models.models)
app.command(run.run)
app.command(setup.setup)
app.command(usage.usage)


@app.command
def serve(
    *mitmproxy_args: Annotated[str, Parameter(allow_leading_hyphen=True, help="Passed to mitmproxy, after --.")],
    config: ConfigPath = None,
    host: Annotated[str | None, Parameter(help="Address to listen on, whatever the config says.")] = None,
    port: Annotated[int | None, Parameter(help="Port to listen on, whatever the config says.")] = None,
    web: Annotated[bool, Parameter(negative="", help="With mitmweb's live view in place of mitmdump.")] = False,
) -> None:
    """Start the gateway. Stops with Ctrl-C."""
    path = config or shipped_config()
    settings = load(path)
    listen_host = settings.host if host is None else host
    address = f"{listen_host}:{settings.port if port is None else port}".lstrip(":")
    # The gateway follows the config from the mode that this one makes. The same with its port named is another mode.
    is_configs = host is None and port is None
    target = "http://cliproxy.internal" if is_configs else "http://cliproxy.internal:80"
    arguments = ["-s", str(addon()), "--set", f"cliproxy_config={path}"]
    arguments += ["--mode", f"reverse:{target}@{address}", *mitmproxy_args]
    program = mitmproxy_program("mitmweb" if web else "mitmdump")
    # In place of this process: signals and the exit code are mitmproxy's own.
    os.execv(program, [program, *arguments])  # noqa: S606 - no shell wanted


def main() -> None:
    """Entry point of the console script."""
    _, asked, _ = app.parse_args()
    with alike_with_store(chosen(), asked.arguments.get("config") or shipped_config()):
        app()


if __name__ == "__main__":
    main()
