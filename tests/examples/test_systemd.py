"""The unit in examples/systemd, as systemd's own program reads it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cliproxy.config.schema import Config
from tests.processes import ROOT

UNIT = ROOT / "examples/systemd/cliproxy@.service"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_has_nothing_against_it(tmp_path: Path) -> None:
    unit = tmp_path / "cliproxy@8318.service"
    here = str(Path(sys.executable).with_name("cliproxy"))
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/cliproxy/.venv/bin/cliproxy", here), "utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, [line for line in done.stderr.splitlines() if unit.name in line]) == (0, [])


def test_it_waits_for_streams_longer_than_the_gateway_does() -> None:
    stop_s = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text("utf-8"), re.MULTILINE)
    assert stop_s
    assert int(stop_s[1]) > Config().shutdown_grace_seconds
