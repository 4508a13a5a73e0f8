"""`cliproxy flows`: files of flows that mitmproxy has saved."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cliproxy.cli.configuration import ConfigPath, shipped_config

app = App(name="flows", help="Files of flows that mitmproxy has saved.")


@app.command
def redact(
    file: Annotated[Path, Parameter(help="What mitmproxy saved: flows, or a HAR file.")],
    output: Annotated[Path | None, Parameter(help="Where the redacted one goes. Default: in its place.")] = None,
    *,
    no_content: Annotated[bool, Parameter(negative="", help="Also take out all that was said.")] = False,
    config: ConfigPath = None,
) -> None:
    """Take the secrets out of a file of flows: keys and tokens of the config, and whatever looks like one."""
    command = [sys.executable, "-m", "addons.flow_files", "--config", str(config or shipped_config())]
    if no_content:
        command.append("--no-content")
    # mitmproxy's files are read by whoever knows mitmproxy.
    raise SystemExit(subprocess.run([*command, "--", str(file), str(output or file)], check=False).returncode)
