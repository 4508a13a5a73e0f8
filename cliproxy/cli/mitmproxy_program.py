"""mitmproxy's programs, as the commands start them."""

import shutil
import sys
from pathlib import Path


def mitmproxy_program(name: str) -> str:
    """mitmproxy's program of this installation, else the one on the PATH."""
    beside = Path(sys.executable).with_name(name)
    program = str(beside) if beside.exists() else shutil.which(name)
    if not program:
        raise SystemExit(f"{name} is not installed beside {sys.executable}: pip install mitmproxy")
    return program
