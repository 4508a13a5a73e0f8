"""`make test-clients`: real tools and SDKs, unmodified, through the gateway to the harness's mock upstream.

Owns which client meets which upstream with which cases, and the tale of the results. The clients, the cases and the
judgement of each row are the harness's (`../shared/harness/clients`, or `CLIPROXY_HARNESS`); without it nothing runs.
"""

import argparse
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from installation import NotInstalled, installed_clients, python_of
from servers import ROOT, UPSTREAMS, credential, mock_log, running_gateway, running_mock

JOBS = 2
ROW_LIMIT_S = 120


@dataclass(frozen=True)
class Rows:
    """Every one of `clients` with every one of `cases`, at one upstream."""

    upstream: str
    clients: tuple[str, ...]
    cases: tuple[str, ...]


ROWS = (
    # Same format: text, then a tool; then several tools in one turn, and reasoning that must come back unharmed.
    Rows(
        "anthropic", ("claude", "qwen-anthropic", "sdk-anthropic", "sdk-anthropic-stream"), ("text", "tool")
    ),
    Rows("anthropic", ("claude", "sdk-anthropic-stream"), ("parallel", "think")),
    Rows(
        "openai-responses",
        ("codex", "codex-lite", "codex-builtin", "sdk-responses", "sdk-responses-stream"),
        ("text", "tool"),
    ),
    Rows("openai-responses", ("codex", "sdk-responses-stream"), ("parallel", "think")),
    Rows("openai-chat", ("qwen", "sdk-chat", "sdk-chat-stream"), ("text", "tool")),
    Rows("openai-chat", ("qwen", "sdk-chat-stream"), ("parallel", "think")),
    Rows("gemini", ("gemini", "qwen-gemini", "sdk-gemini", "sdk-gemini-stream"), ("text", "tool")),
    Rows("gemini", ("gemini", "sdk-gemini-stream"), ("parallel", "think")),
    # Across formats: a tool call that is executed and answered; then with reasoning, and in parallel.
    Rows("anthropic", ("codex", "codex-lite", "gemini", "qwen", "qwen-gemini"), ("tool", "think")),
    Rows("anthropic", ("sdk-chat", "sdk-responses", "sdk-gemini"), ("tool",)),
    Rows(
        "anthropic", ("sdk-chat-stream", "sdk-responses-stream", "sdk-gemini-stream"), ("parallel", "think")
    ),
    Rows("openai-chat", ("claude", "codex", "codex-lite", "gemini"), ("tool", "think")),
    Rows("openai-chat", ("sdk-responses", "sdk-anthropic", "sdk-gemini"), ("tool",)),
    Rows(
        "openai-chat",
        ("sdk-responses-stream", "sdk-anthropic-stream", "sdk-gemini-stream"),
        ("parallel", "think"),
    ),
    Rows("openai-responses", ("claude", "gemini"), ("tool", "think")),
    Rows("openai-responses", ("sdk-chat", "sdk-anthropic", "sdk-gemini"), ("tool",)),
    Rows(
        "openai-responses",
        ("sdk-chat-stream", "sdk-anthropic-stream", "sdk-gemini-stream"),
        ("parallel", "think"),
    ),
    Rows("gemini", ("claude", "codex", "codex-lite", "qwen", "qwen-anthropic"), ("tool", "think")),
    Rows("gemini", ("sdk-chat", "sdk-responses", "sdk-anthropic"), ("tool",)),
    Rows(
        "gemini", ("sdk-chat-stream", "sdk-responses-stream", "sdk-anthropic-stream"), ("parallel", "think")
    ),
)


@dataclass
class Tally:
    passed: int = 0
    failed: int = 0

    def count(self, ok: bool) -> None:
        if ok:
            self.passed += 1
        else:
            self.failed += 1


@dataclass
class Run:
    """One run of all rows: where things are, and what came out so far."""

    harness: Path
    clients: Path
    work: Path
    mock_url: str
    client_key: str
    tally: Tally = field(default_factory=Tally)

    def meet(self, upstream: str, rows: Sequence[Rows]) -> None:
        """Send clients through a gateway of their own to one upstream."""
        print(f"\n{upstream} upstream", flush=True)
        work = self.work / upstream
        work.mkdir()
        config = UPSTREAMS[upstream].config(upstream, self.mock_url, self.client_key)
        with running_gateway(config, work) as (url, log):
            for group in rows:
                for result in self._results(group, url, work):
                    self.tally.count(result["ok"])
                    if not result["ok"]:
                        _tell_failure(result)
            complaints = log.read_text("utf-8", "replace")
        self._check(f"gateway to {upstream}", "complains of nothing", complaints.splitlines()[-25:])

    def check_upstream(self) -> None:
        """What the mock saw of credentials: the gateway's for its format, and never the client's."""
        requests = mock_log(self.mock_url)
        leaking = [_line(seen) for seen in requests if self.client_key in json.dumps(seen)]
        self._check("upstream", "never sees the client's key", leaking)
        asked = [seen for seen in requests if seen.get("fmt")]
        foreign = [_line(seen) for seen in asked if not _has_credential(seen)]
        self._check("upstream", "sees the gateway's own", foreign if asked else ["no request arrived"])

    def _check(self, subject: str, predicate: str, problems: Sequence[str]) -> None:
        self.tally.count(not problems)
        print("FAIL " if problems else "PASS ", subject, predicate, flush=True)
        for problem in problems[:25]:
            print("       ", problem)

    def _results(self, rows: Rows, url: str, work: Path) -> list[dict[str, Any]]:
        report = work / "results.json"
        report.unlink(missing_ok=True)
        command = [
            python_of(self.clients), self.harness / "run_clients.py", "--base", url, "--mock", self.mock_url,
            "--clients", ",".join(rows.clients), "--cases", ",".join(rows.cases), "--jobs", str(JOBS),
            "--timeout", str(ROW_LIMIT_S), "--work", work / "rows", "--json", report,
        ]  # fmt: skip
        environment = {
            **os.environ,
            "CLIENTS_ROOT": str(self.clients),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        with _ended_with_its_clients(
            subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
            )
        ) as process:
            assert process.stdout
            for line in process.stdout:
                if line.startswith(("PASS", "FAIL")):
                    print(line, end="", flush=True)
        if not report.exists():
            raise RuntimeError(f"the harness ended with code {process.returncode} and without a report")
        return json.loads(report.read_text("utf-8"))


@contextmanager
def _ended_with_its_clients(harness: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Each client runs in a session of its own, where an interruption of ours does not reach it."""
    try:
        yield harness
        harness.wait()
    except BaseException:
        harness.send_signal(signal.SIGSTOP)  # so that it starts no more
        for children in Path(f"/proc/{harness.pid}/task").glob("*/children"):
            for client in children.read_text("ascii").split():
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(int(client), signal.SIGKILL)
        harness.kill()
        harness.wait()
        raise


def _tell_failure(result: dict[str, Any]) -> None:
    print(f"\n--- {result['client']} {result['case']}: {'; '.join(result['problems'])}")
    for violation in result.get("violations", []):
        print("violation:", violation[:300])
    for request in result.get("upstream", []):
        print("upstream: ", request)
    for stream in ("stdout", "stderr"):
        for line in result[stream].splitlines()[-12:]:
            print(f"{stream}:   ", line[:300])
    print("---\n", flush=True)


def _has_credential(seen: dict[str, Any]) -> bool:
    format_ = {"chat": "openai-chat", "responses": "openai-responses"}.get(seen["fmt"], seen["fmt"])
    return any(credential(format_) in value for _, value in seen["headers"])


def _line(seen: dict[str, Any]) -> str:
    return f"{seen['method']} {seen['path']}"


def _find_harness() -> Path | None:
    place = Path(os.environ.get("CLIPROXY_HARNESS") or ROOT.parent / "shared/harness/clients")
    return place if (place / "run_clients.py").is_file() else None


def _selected(upstreams: str, clients: str) -> dict[str, list[Rows]]:
    """The rows of each upstream, narrowed to the given names where some are given."""
    selected: dict[str, list[Rows]] = {name: [] for name in UPSTREAMS}
    for rows in ROWS:
        kept = tuple(name for name in rows.clients if not clients or name in clients.split(","))
        if kept and (not upstreams or rows.upstream in upstreams.split(",")):
            selected[rows.upstream].append(Rows(rows.upstream, kept, rows.cases))
    return {upstream: rows for upstream, rows in selected.items() if rows}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--upstreams", default="", help="only these, with commas: " + ", ".join(UPSTREAMS))
    parser.add_argument("--clients", default="", help="only these, with commas")
    arguments = parser.parse_args()
    harness = _find_harness()
    if harness is None:
        print(
            "The client harness is not here (../shared/harness/clients, CLIPROXY_HARNESS): nothing is tested."
        )
        print("0 passed, 0 failed")
        return 0
    began_s = time.monotonic()
    try:
        clients = installed_clients(harness)
    except NotInstalled as error:
        print(f"The clients are not installed: {error}", file=sys.stderr)
        return 1
    ready_s = time.monotonic()
    client_key = runpy.run_path(str(harness / "run_clients.py"))["KEY"]
    with tempfile.TemporaryDirectory(prefix="cliproxy-clients-") as directory:
        work = Path(directory)
        with running_mock(python_of(clients), harness, work) as mock_url:
            run = Run(harness, clients, work, mock_url, client_key)
            for upstream, rows in _selected(arguments.upstreams, arguments.clients).items():
                run.meet(upstream, rows)
            run.check_upstream()
    print(
        f"\n{ready_s - began_s:.0f} s to find or install the clients, {time.monotonic() - ready_s:.0f} s for the rows"
    )
    print(f"{run.tally.passed} passed, {run.tally.failed} failed")
    return 1 if run.tally.failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
