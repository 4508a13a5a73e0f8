"""Redacts files of flows that were saved before: mitmproxy's own, and HAR.

    python -m addons.flow_files [--no-content] [--config FILE] SOURCE TARGET

A program of its own, which `cliproxy flows redact` starts: the `cliproxy` command knows nothing of mitmproxy.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

from mitmproxy.exceptions import FlowReadException
from mitmproxy.io import FlowReader, FlowWriter

from addons.redaction import redacted
from cliproxy.config.loading import ConfigFault, load_config
from cliproxy.credentials.auth_dir import AuthDir
from cliproxy.credentials.auth_file import AuthFile
from cliproxy.inspection.har import redacted_har
from cliproxy.inspection.known_secrets import secrets_in, secrets_of
from cliproxy.inspection.redaction import Redactor


def redact_file(source: Path, target: Path, redactor: Redactor) -> int:
    """Write a redacted copy, which may replace its source; returns how many flows it holds.

    Raises OSError, and ValueError for what is no file of flows; the target is then as it was.
    """
    descriptor, written = tempfile.mkstemp(dir=target.resolve().parent, prefix=f".{target.name}.")
    try:
        with source.open("rb") as read, os.fdopen(descriptor, "wb") as write:
            is_har = read.peek(4).removeprefix(b"\xef\xbb\xbf").startswith(b"{")
            count = _redact_har(read, write, redactor) if is_har else _redact_flows(read, write, redactor)
        Path(written).replace(target.resolve())
    except BaseException:
        Path(written).unlink(missing_ok=True)
        raise
    return count


def _redact_flows(source: BinaryIO, target: BinaryIO, redactor: Redactor) -> int:
    writer, count = FlowWriter(target), 0
    try:
        for flow in FlowReader(source).stream():
            writer.add(redacted(flow, redactor))
            count += 1
    except FlowReadException as fault:
        raise ValueError(f"it is no file of flows, or not whole: {fault}") from None
    return count


def _redact_har(source: BinaryIO, target: BinaryIO, redactor: Redactor) -> int:
    har = json.loads(source.read().decode("utf-8-sig"))
    try:
        count = len(har["log"]["entries"])
    except (KeyError, TypeError):
        raise ValueError("it is no HAR file") from None
    target.write(json.dumps(redacted_har(har, redactor), ensure_ascii=False, indent=4).encode("utf-8", "replace"))
    return count


def main() -> None:
    """Entry point. Exit code 1: nothing was written, and stderr says why."""
    parser = argparse.ArgumentParser(prog="python -m addons.flow_files")
    parser.add_argument("--no-content", action="store_true")
    parser.add_argument("--config", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    said = parser.parse_args()
    try:
        redactor = Redactor(_known(said.config) if said.config else (), keeps_words=not said.no_content)
        count = redact_file(said.source, said.target, redactor)
    except (OSError, ValueError, ConfigFault) as fault:
        print(f"{said.source}: {getattr(fault, 'strerror', None) or fault}", file=sys.stderr)
        raise SystemExit(1) from None
    print(f"{said.target}: {count} flows, redacted", file=sys.stderr)


def _known(path: Path) -> set[str]:
    """The secrets of a config and of its accounts."""
    config = load_config(path).config
    accounts = AuthDir(Path(config.auth_dir)).scan().values()
    return secrets_of(config).union(*(secrets_in(file.fields) for file in accounts if isinstance(file, AuthFile)))


if __name__ == "__main__":
    main()
