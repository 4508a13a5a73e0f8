"""`cliproxy doctor`: what is wrong with the set-up of this machine, and what mends it."""

import json
import os
import shlex
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cliproxy.cli import credentials_list
from cliproxy.cli.configuration import ConfigPath, shipped_config
from cliproxy.cli.credentials import logins_of_tools
from cliproxy.cli.offers import catalogue_of, credentials_of
from cliproxy.config.schema import Config
from cliproxy.credentials.auth_dir import AuthDir
from cliproxy.doctor.accounts import accounts, models
from cliproxy.doctor.configuration import configuration
from cliproxy.doctor.finding import Finding, Level, exit_code
from cliproxy.doctor.installation import installation
from cliproxy.doctor.listener import certificates, port
from cliproxy.doctor.storage import storage
from cliproxy.doctor.store import store
from cliproxy.doctor.tools import proxies, tools
from cliproxy.doctor.upstreams import upstreams
from cliproxy.routing.listing import everything_listed
from cliproxy.setup.address import gateway_url
from cliproxy.stores.choice import chosen, placed

_STYLES: dict[Level, str] = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "bold red"}


async def doctor(
    *,
    config: ConfigPath = None,
    online: Annotated[bool, Parameter(negative="", help="Try to reach each upstream too.")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="As JSON, for scripts.")] = False,
) -> None:
    """Look for what is wrong, and say what mends it. Exit code: 0 all is well, 1 there are warnings, 2 errors."""
    shared = chosen()
    settings, of_file = configuration(shared.here.config_path if shared else config or shipped_config())
    findings = [*installation(), *of_file]
    if shared:
        findings += [finding async for finding in store(shared)]
        await shared.there.close()
        settings = settings and placed(settings, shared)
    if settings:
        findings += await _of_config(settings, online=online)
    if config:
        findings = [_of_the_same_config(finding, config) for finding in findings]
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2))
    else:
        _show(findings)
    raise SystemExit(exit_code(findings))


async def _of_config(config: Config, *, online: bool) -> list[Finding]:
    auth_dir, home = AuthDir(Path(config.auth_dir)), Path.home()
    rows = credentials_list.rows(config, auth_dir.scan(), home)
    findings = [await port(config), *certificates(config)]
    findings += accounts(rows, logins_of_tools(auth_dir))
    findings.append(models(everything_listed(catalogue_of(config), config.models)))
    findings += storage(config)
    findings += await tools(config, home, os.environ)
    findings += proxies(gateway_url(config), os.environ)
    if online:
        findings += await upstreams(credentials_of(config), config.proxy_url)
    return findings


def _of_the_same_config(finding: Finding, path: Path) -> Finding:
    """Have the command that mends it read the config that was looked at."""
    if not finding.mend.startswith("cliproxy "):
        return finding
    return replace(finding, mend=f"{finding.mend} --config {shlex.quote(str(path))}")


def _show(findings: Iterable[Finding]) -> None:
    table = Table("check", "", box=None)
    table.add_column("finding", overflow="fold")
    for finding in findings:
        said = Text(finding.text)
        if finding.mend:
            said.append(f"\n→ {finding.mend}", "bold")
        table.add_row(finding.about, Text(finding.level, _STYLES[finding.level]), said)
    Console(markup=False, highlight=False).print(table)
