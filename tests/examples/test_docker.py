"""What examples/docker/Dockerfile says, as far as it can be done without Docker."""

import json
import re
from pathlib import Path

import pytest

from tests.processes import ROOT, Gateway, Program, assert_clean, config_for, listening, spawn, written
from tests.upstream import Upstream

DOCKERFILE = ROOT / "examples/docker/Dockerfile"


@pytest.fixture(scope="module")
def dockerfile() -> str:
    """Its instructions, one a line."""
    return DOCKERFILE.read_text("utf-8").replace("\\\n", "")


def command(dockerfile: str, instruction: str) -> list[str]:
    """What it starts, in the form that needs no shell."""
    found = re.search(rf"^{instruction}\b.*?(\[.*\])$", dockerfile, re.MULTILINE)
    assert found
    return json.loads(found[1])


async def test_the_entrypoint_serves_and_the_healthcheck_notices(
    dockerfile: str, tmp_path: Path, confdir: Path, upstream: Upstream, free_port: int
) -> None:
    here = {
        "8317": str(free_port),
        "0.0.0.0": "127.0.0.1",
        "/var/lib/cliproxy/config.yaml": str(written(tmp_path, config_for(upstream))),
    }
    entrypoint = [here.get(word, word) for word in command(dockerfile, "ENTRYPOINT")]
    healthcheck = [word.replace("8317", str(free_port)) for word in command(dockerfile, "HEALTHCHECK")]

    async def is_healthy() -> bool:
        return await (await spawn(Program, *healthcheck)).ended() == 0

    gateway = await listening(await spawn(Gateway, *entrypoint, "--set", f"confdir={confdir}"))
    try:
        assert gateway.port == free_port
        assert await is_healthy()
    finally:
        assert await gateway.stop() == 0
    assert not await is_healthy()
    assert_clean(gateway)


def test_what_it_copies_is_there_and_nothing_else_goes_into_the_image(dockerfile: str) -> None:
    copied = {
        source
        for words in re.findall(r"^COPY (?:--\S+ )?(.+)$", dockerfile, re.MULTILINE)
        for source in words.split()[:-1]
    }
    assert all((ROOT / source).exists() for source in copied)
    lines = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert "*" in lines
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied
