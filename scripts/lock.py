#!/usr/bin/env python3
"""Writes requirements.lock: what pip resolves for pyproject.toml with its `dev` extra, on each Python we support.

Owns the merge of the resolutions only. A package whose version differs between Pythons gets a line for
each with an environment marker, as mitmproxy's own pins do: below 3.13 they hold typing-extensions, and
with it pydantic, at older versions.
"""

import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent

# Each resolution is made by the Python named and serves all Pythons its marker admits.
PYTHONS = {"3.12": 'python_version < "3.13"', "3.13": 'python_version >= "3.13"'}

# Made for one system; elsewhere pip adds that system's own variant.
SYSTEMS = {"mitmproxy_linux": 'sys_platform == "linux"'}

HEADER = """\
# Exact versions of everything .venv holds. Made by `make lock`; edit pyproject.toml instead.
"""


def resolve(version: str) -> dict[str, str]:
    """Name to exact version of every package the project needs on a Python of that version."""
    python = subprocess.check_output([ROOT / "scripts/find-python", version], text=True).strip()
    with TemporaryDirectory() as venv:
        subprocess.check_call([python, "-m", "venv", venv])
        pip = [f"{venv}/bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        # The resolvers that older Pythons bring along give up on mitmproxy's pins, or take minutes.
        subprocess.check_call([*pip, "--upgrade", "pip"])
        report = subprocess.check_output([*pip, "--dry-run", "--report", "-", f"{ROOT}[dev]"], text=True)
    packages = (item["metadata"] for item in json.loads(report)["install"])
    return {package["name"]: package["version"] for package in packages if package["name"] != "cliproxy"}


def merge(resolutions: dict[str, dict[str, str]]) -> list[str]:
    """Requirement lines, by name; `resolutions` holds a mapping of name to version for each Python."""
    lines = []
    for name in sorted({name for packages in resolutions.values() for name in packages}, key=str.lower):
        versions = {python: packages.get(name) for python, packages in resolutions.items()}
        same = len(set(versions.values())) == 1
        for python, version in list(versions.items())[: 1 if same else None]:
            if version:
                markers = [] if same else [PYTHONS[python]]
                markers += [SYSTEMS[name]] if name in SYSTEMS else []
                lines.append(f"{name}=={version}" + (f" ; {' and '.join(markers)}" if markers else ""))
    return lines


if __name__ == "__main__":
    lines = merge({version: resolve(version) for version in PYTHONS})
    (ROOT / "requirements.lock").write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
