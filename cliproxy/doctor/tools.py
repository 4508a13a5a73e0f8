"""The tools on this machine: which are there, where their settings send them, and what stands in their way."""

import asyncio
import contextlib
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from cliproxy.config.schema import Config
from cliproxy.doctor.finding import Finding
from cliproxy.setup import TOOLS
from cliproxy.setup.address import gateway_url, is_same_place
from cliproxy.setup.files import FileFault, is_set_up, read_settings
from cliproxy.setup.tool import Environment, Tool

_LIMIT_S = 15.0
_VERSION = re.compile(r"\d+\.\d+[\w.+-]*")


async def tools(config: Config, home: Path, env: Environment) -> list[Finding]:
    """All that are on the PATH, or have settings."""
    programs = {tool.name: shutil.which(tool.program, path=env.get("PATH")) for tool in TOOLS.values()}
    versions = await asyncio.gather(*(_version(program, env) for program in programs.values()))
    findings: list[Finding] = []
    missing: list[str] = []
    for tool, version in zip(TOOLS.values(), versions, strict=True):
        is_used = any(file.path.exists() for file in tool.files(home, env))
        if not programs[tool.name] and not is_used:
            missing.append(tool.title)
            continue
        called = " ".join(filter(None, (tool.title, version))) if programs[tool.name] else f"{tool.title} (not on PATH)"
        findings += _settings(tool, called, config, home, env)
    if missing:
        findings.append(Finding("tools", "note", f"not found: {', '.join(missing)}"))
    return findings


async def _version(program: str | None, env: Environment) -> str:
    """What a program says of itself; empty where it does not within the time limit."""
    if program is None:
        return ""
    process = await asyncio.create_subprocess_exec(
        program, "--version", stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, env=dict(env)
    )
    try:
        printed, _ = await asyncio.wait_for(process.communicate(), _LIMIT_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return ""
    found = _VERSION.search(printed.decode(errors="replace"))
    return found[0] if found else ""


def _settings(tool: Tool, called: str, config: Config, home: Path, env: Environment) -> Iterator[Finding]:
    url, keys = gateway_url(config), [key.key.get_secret_value() for key in config.api_keys]
    files, mend = tool.files(home, env), f"cliproxy setup {tool.name}"
    try:
        pointer = tool.pointer([read_settings(file.path, file.syntax) for file in files])
    except FileFault as fault:
        yield Finding("tools", "error", f"{called}: {fault}")
        return
    if pointer is None:
        yield Finding("tools", "note", f"{called} goes to its vendor", mend)
        return
    if not is_same_place(pointer.url, url):
        where = f"{called} goes to {_without_login(pointer.url)}, and the gateway is at {url}"
        is_ours = any(is_set_up(file.path) for file in files)
        yield Finding("tools", "warning" if is_ours else "note", where, mend)
        return
    if keys and pointer.key not in keys:
        yield Finding("tools", "error", f"{called} goes to the gateway with a key that is none of api-keys", mend)
        return
    yield Finding("tools", "ok", f"{called} goes to the gateway")
    if lack := tool.lacks(config):
        yield Finding("tools", "warning", f"{tool.title}: {lack}")
    for name in tool.variables:
        if (value := env.get(name)) and not is_same_place(value, url) and value not in keys:
            text = f"{name} of the environment goes before the settings of {tool.title}"
            yield Finding("tools", "warning", text, f"unset {name}")


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def proxies(url: str, env: Mapping[str, str]) -> Iterator[Finding]:
    """Tools send even what is for this machine to a proxy of the environment. url: of the gateway."""
    named = [name for name in env if name.lower() in ("http_proxy", "https_proxy", "all_proxy") and env[name]]
    host = urlsplit(url).hostname or ""
    if named and not _is_exempt(host, env.get("NO_PROXY") or env.get("no_proxy", "")):
        text = f"{' and '.join(named)} would take tools to a proxy instead of the gateway"
        yield Finding("network", "warning", text, f"export NO_PROXY={host},localhost")


def _is_exempt(host: str, no_proxy: str) -> bool:
    """Whether a list of hosts, with commas, holds a host or a domain that it is in."""
    exempt = (entry.strip().strip("[]").removeprefix("*").lstrip(".") for entry in no_proxy.split(","))
    return no_proxy.strip() == "*" or any(entry and f".{host}".endswith(f".{entry}") for entry in exempt)
