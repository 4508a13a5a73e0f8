"""`make test-clients`: real tools and SDKs, unmodified, through the gateway to the harness's mock upstream.

Owns which client meets which upstream in which cases, by its base URL, intercepted or by its own settings, and the
telling of the results. The clients, the cases and the judgement of a row are the harness's
(`../shared/harness/clients`, or `CLIPROXY_HARNESS`); without it nothing runs.
"""

import argparse
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import interception
import setting_up
from installation import NotInstalled, installed_clients, python_of
from servers import (
    ROOT,
    UPSTREAMS,
    NotServing,
    credential,
    gateways_asked,
    mock_log,
    restart_gateway,
    running_gateway,
    running_mock,
    running_scale_out,
)

JOBS = 2
ROW_LIMIT_S = 120
TOLD_LINES = 12
"""How much of each log is shown where something failed."""

_IMAGE = re.compile("iVBORw0KGgo|/9j/")  # how PNG and JPEG begin in base64

Group = tuple[str, str]
"""Clients and cases: each of these clients in each of these cases."""

# Cases: `tool` reads a file, `parallel` two of them in one turn, `write` makes one (Codex with a freeform tool),
# `read-image` gets an image as the result, `think` is two tools one after another with signed reasoning.
ROWS: dict[str, tuple[Group, ...]] = {
    "anthropic": (
        # Its own format, then the others; likewise below.
        ("claude qwen-anthropic sdk-anthropic sdk-anthropic-stream", "text tool"),
        ("claude sdk-anthropic-stream", "parallel think"),
        ("codex codex-lite codex-builtin", "tool write think"),
        ("gemini qwen qwen-gemini", "tool read-image think"),
        ("sdk-chat sdk-responses sdk-gemini", "tool"),
        ("sdk-chat-stream sdk-responses-stream sdk-gemini-stream", "parallel think"),
    ),
    "openai-chat": (
        ("qwen sdk-chat sdk-chat-stream", "text tool"),
        ("qwen sdk-chat-stream", "parallel think"),
        ("codex codex-lite", "tool write think"),
        ("claude gemini", "tool read-image think"),
        ("sdk-responses sdk-anthropic sdk-gemini", "tool"),
        ("sdk-responses-stream sdk-anthropic-stream sdk-gemini-stream", "parallel think"),
    ),
    "openai-responses": (
        # codex-builtin speaks over a WebSocket.
        ("codex codex-lite codex-builtin sdk-responses sdk-responses-stream", "text tool"),
        ("codex codex-lite sdk-responses-stream", "parallel think"),
        ("claude gemini", "tool read-image think"),
        ("sdk-chat sdk-anthropic sdk-gemini", "tool"),
        ("sdk-chat-stream sdk-anthropic-stream sdk-gemini-stream", "parallel think"),
    ),
    "gemini": (
        ("gemini qwen-gemini sdk-gemini sdk-gemini-stream", "text tool"),
        ("gemini sdk-gemini-stream", "parallel think"),
        ("codex codex-lite codex-builtin", "tool write think"),
        ("claude qwen qwen-anthropic", "tool read-image think"),
        ("sdk-chat sdk-responses sdk-anthropic", "tool"),
        ("sdk-chat-stream sdk-responses-stream sdk-anthropic-stream", "parallel think"),
    ),
}


@dataclass
class Run:
    """One run: where things are, and what came out so far."""

    harness: Path
    clients: Path
    work: Path
    mock_url: str
    client_key: str
    through_scale_out: bool
    """Two gateways behind nginx are in the gateway's place, and one is restarted meanwhile."""
    passed: int = 0
    failed: int = 0

    def meet(self, upstream: str, groups: Sequence[Group]) -> None:
        """Send groups of clients through a gateway of their own to one upstream."""
        print(f"\nupstream {upstream}", flush=True)
        work = self.work / upstream
        work.mkdir()
        config = UPSTREAMS[upstream].config(upstream, self.mock_url, self.client_key)
        try:
            with self._running(config, work) as (url, logs), ThreadPoolExecutor(1) as aside:
                restarting: Future[list[str]] | None = None
                for number, group in enumerate(groups):
                    if self.through_scale_out and number == len(groups) // 3:
                        restarting = aside.submit(restart_gateway, work)
                    self._send(group, ("--base", url), work, self.clients, self.mock_url)
                if restarting:
                    self._check("one gateway was restarted meanwhile", restarting.result())
                    asked = gateways_asked(work)
                    self._check("both gateways served", [] if len(asked) == 2 else [f"only {asked}"])
            self._check("the gateway logs no error", _lines(logs))
        except NotServing as error:
            self._check("the gateway starts", str(error).splitlines())

    def _running(self, config: Mapping[str, Any], work: Path) -> AbstractContextManager[tuple[str, list[Path]]]:
        return running_scale_out(config, work) if self.through_scale_out else running_gateway(config, work)

    def intercept(self, mode: str, rows: Sequence[interception.Row]) -> None:
        """Send clients that know nothing of a gateway to a mock of their own, each through `cliproxy run`."""
        print(f"\ninterception: {mode}", flush=True)
        for number, (clients, cases, formats) in enumerate(rows):
            work = self.work / f"{mode}-{number}"
            work.mkdir()
            python = python_of(self.clients)
            with (
                running_mock(python, self.harness, work) as mock_url,
                interception.way_out(mock_url, work) as (proxy_url, ca),
            ):
                config = interception.config_of(formats, mock_url, work)
                wrapped = interception.wrapped_clients(self.clients, mode, config, work)
                way = ("--proxy", proxy_url, "--ca", str(ca))
                self._send((clients, cases), way, work, wrapped, mock_url)
                seen = mock_log(mock_url)
            shown = "the client's own credential" if mode == "observe" else "our credential and not the client's"
            self._check(f"vendors see {shown}", interception.objections(mode, seen, self.client_key, formats))
            self._check("what was used is on record", interception.unbooked(seen, work))
            self._check("nothing is left running", interception.left_behind(work))

    def set_up(self, rows: Sequence[setting_up.Row]) -> None:
        """Send clients to the gateway that their own settings name, which `cliproxy setup` wrote."""
        print("\nsetup", flush=True)
        work = self.work / "setup"
        work.mkdir()
        for clients, cases, format_ in rows:
            upstream = UPSTREAMS[format_]
            with (
                running_mock(python_of(self.clients), self.harness, work) as mock_url,
                interception.way_out(mock_url, work) as (proxy_url, ca),
                self._running(upstream.config(format_, mock_url, setting_up.KEY), work) as (url, logs),
            ):
                config = work / "config.yaml"
                root = setting_up.set_up_clients(self.clients, url, upstream.model, config, work)
                self._send((clients, cases), ("--proxy", proxy_url, "--ca", str(ca)), work, root, mock_url)
                seen = mock_log(mock_url)
            self._check("the gateway logs no error", _lines(logs))
            objections = interception.objections("route", seen, self.client_key, (format_,))
            self._check("the upstream sees our credential and not the client's", objections)

    def _send(self, group: Group, way: Sequence[str], work: Path, clients: Path, mock_url: str) -> None:
        for result in self._results(group, way, work, clients, mock_url):
            self._count(result["ok"])
            if not result["ok"]:
                _tell_failure(result)

    def check_upstream(self) -> None:
        """What the rows do not look at: credentials, and whether images arrived with the tool results."""
        print("\nall upstreams", flush=True)
        requests = mock_log(self.mock_url)
        leaking = [seen for seen in requests if self.client_key in json.dumps(seen)]
        self._check("the client's key goes to none", [f"{seen['method']} {seen['path']}" for seen in leaking])
        asked = [seen for seen in requests if seen.get("fmt")]
        foreign = [f"{seen['method']} {seen['path']}" for seen in asked if not _has_credential(seen)]
        self._check("each sees its own credential", foreign if asked else ["no request arrived"])
        self._check("images arrive", _lost_images(asked))

    def _check(self, claim: str, objections: Sequence[str]) -> None:
        self._count(not objections)
        print("FAIL " if objections else "PASS ", claim, flush=True)
        for objection in objections[-TOLD_LINES:]:
            print("     ", objection)

    def _count(self, ok: bool) -> None:
        if ok:
            self.passed += 1
        else:
            self.failed += 1

    def _results(self, group: Group, way: Sequence[str], work: Path, root: Path, mock_url: str) -> list[dict[str, Any]]:
        """What the harness says of each row; its lines are printed as they come.

        way: how clients get to the gateway, as the harness's options. root: where the clients are.
        """
        clients, cases = group
        report = work / "results.json"
        report.unlink(missing_ok=True)
        command = [
            python_of(self.clients), self.harness / "run_clients.py", *way, "--mock", mock_url,
            "--clients", clients.replace(" ", ","), "--cases", cases.replace(" ", ","), "--jobs", str(JOBS),
            "--timeout", str(ROW_LIMIT_S), "--work", work / "rows", "--json", report,
        ]  # fmt: skip
        loopback = "127.0.0.1"
        environment = {**os.environ, "CLIENTS_ROOT": str(root), "NO_PROXY": loopback, "no_proxy": loopback}
        with _ended_with_its_clients(
            subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        ) as process:
            assert process.stdout
            for line in process.stdout:
                if line.startswith(("PASS", "FAIL")):
                    print(line.rstrip(), flush=True)
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
        with suppress(ProcessLookupError):
            harness.send_signal(signal.SIGSTOP)  # so that it starts no more of them
        for children in Path(f"/proc/{harness.pid}/task").glob("*/children"):
            for client in children.read_text("ascii").split():
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(int(client), signal.SIGKILL)
        harness.kill()
        harness.wait()
        raise


def _lines(files: Sequence[Path]) -> list[str]:
    return [line for file in files for line in file.read_text("utf-8", "replace").splitlines()]


def _tell_failure(result: dict[str, Any]) -> None:
    print(f"\n--- {result['client']} {result['case']}: {'; '.join(result['problems'])}")
    for violation in result.get("violations", []):
        print("violation:", violation[:300])
    for request in result.get("upstream", []):
        print("upstream:", request)
    for stream in ("stdout", "stderr"):
        for line in result[stream].splitlines()[-TOLD_LINES:]:
            print(f"{stream}:", line[:300])
    print("---\n", flush=True)


def _has_credential(seen: dict[str, Any]) -> bool:
    format_: str = seen["fmt"]
    if format_ in ("chat", "responses"):
        format_ = f"openai-{format_}"
    return any(credential(format_) in value for _, value in seen["headers"])


def _lost_images(requests: Sequence[dict[str, Any]]) -> list[str]:
    """The files of `read-image` rows in none of whose requests an image was found."""
    arrived: dict[str, bool] = {}
    for seen in requests:
        file = seen["directive"].get("file", "")
        if file.endswith(".png"):
            arrived[file] = arrived.get(file, False) or bool(_IMAGE.search(json.dumps(seen["body"])))
    return [file for file, found in arrived.items() if not found]


def _find_harness() -> Path | None:
    place = Path(os.environ.get("CLIPROXY_HARNESS") or ROOT.parent / "shared/harness/clients").absolute()
    return place if (place / "run_clients.py").is_file() else None


def _selected(
    rows: Mapping[str, Sequence[tuple[str, *tuple[Any, ...]]]], wanted: str, clients: str
) -> dict[str, list[Any]]:
    """Rows, narrowed to the given names where some are given."""
    selected: dict[str, list[Any]] = {}
    for key in rows:
        for names, *rest in rows[key]:
            kept = [name for name in names.split() if not clients or name in clients.split(",")]
            if kept and (not wanted or key in wanted.split(",")):
                selected.setdefault(key, []).append((" ".join(kept), *rest))
    return selected


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    keys = ",".join((*ROWS, *interception.ROWS, *setting_up.ROWS))
    parser.add_argument(
        "--upstreams", default="", help=f"only these upstreams, modes of interception, or setup: {keys}"
    )
    parser.add_argument("--clients", default="", help="only these, with commas, by the harness's names")
    parser.add_argument(
        "--through", choices=["scale-out"], help="two gateways behind nginx, one restarted meanwhile; no interception"
    )
    arguments = parser.parse_args()
    harness = _find_harness()
    if harness is None:
        print("Nothing is tested: there is no harness in ../shared/harness/clients or $CLIPROXY_HARNESS.")
        print("0 passed, 0 failed")
        return 0
    try:
        wanted = arguments.upstreams, arguments.clients
        of_each = (_selected(rows, *wanted) for rows in (ROWS, interception.ROWS, setting_up.ROWS))
        passed, failed = _run(harness, *of_each, through_scale_out=bool(arguments.through))
    except (NotInstalled, NotServing) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _run(
    harness: Path,
    selected: Mapping[str, Sequence[Group]],
    intercepted: Mapping[str, Sequence[interception.Row]],
    set_up: Mapping[str, Sequence[setting_up.Row]],
    *,
    through_scale_out: bool,
) -> tuple[int, int]:
    """How many rows and checks passed and failed."""
    began_s = time.monotonic()
    clients = installed_clients(harness)
    ready_s = time.monotonic()
    client_key = runpy.run_path(str(harness / "run_clients.py"))["KEY"]
    with tempfile.TemporaryDirectory(prefix="cliproxy-clients-") as directory:
        work = Path(directory)
        with running_mock(python_of(clients), harness, work) as mock_url:
            run = Run(harness, clients, work, mock_url, client_key, through_scale_out)
            for upstream, groups in selected.items():
                run.meet(upstream, groups)
            if selected:
                run.check_upstream()
            for mode, rows in ({} if through_scale_out else intercepted).items():
                run.intercept(mode, rows)
            for rows in set_up.values():
                run.set_up(rows)
    print(f"\nclients ready in {ready_s - began_s:.0f} s, rows done in {time.monotonic() - ready_s:.0f} s")
    return run.passed, run.failed


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
