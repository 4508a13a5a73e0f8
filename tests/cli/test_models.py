"""`cliproxy models` as its own process."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.answers import Answer
from tests.processes import UPSTREAM_KEY, Program, assert_clean, config_for, spawn, written
from tests.upstream import Upstream

COMMAND = ("python", "-m", "cliproxy.cli", "models")


async def models(path: Path, *arguments: str, code: int = 0) -> list[str]:
    """What the command prints, with everything that is not in `path` as on a new machine."""
    program = await spawn(Program, *COMMAND, "--config", str(path), *arguments)
    assert await program.ended() == code, program.text
    assert_clean(program)
    assert UPSTREAM_KEY not in program.text
    return program.log


def config(tmp_path: Path, upstream: Upstream, **keys: Any) -> Path:
    own = {"auth-dir": str(tmp_path / "auth"), "models-file": str(tmp_path / "models.json"), "demo": False}
    return written(tmp_path, {**config_for(upstream, **keys), **own})


def listed(body: Mapping[str, Any]) -> Answer:
    return Answer(headers={"content-type": "application/json"}, body=json.dumps(body).encode())


async def test_it_lists_what_keys_and_accounts_offer(tmp_path: Path, upstream: Upstream) -> None:
    (tmp_path / "auth").mkdir()
    login = {"type": "kimi", "access_token": "test-access-1", "email": "me@example.com"}
    (tmp_path / "auth" / "kimi-1.json").write_text(json.dumps(login), "utf-8")
    chain = {"smart": {"targets": ["kimi-k3(high)"]}}
    header, *rows = [line.split() for line in await models(config(tmp_path, upstream, models=chain))]
    assert header == ["model", "provider", "context", "output", "thinking"]
    by_name = {row[0]: row[1:] for row in rows}
    assert by_name["anthropic-model"] == ["claude"]
    assert by_name["chat-model"] == ["chat"]
    assert by_name["kimi-k3"] == ["kimi", "262144", "65536", "low…max"]
    assert by_name["smart"] == by_name["kimi-k3"]


async def test_scripts_get_json(tmp_path: Path, upstream: Upstream) -> None:
    entries = json.loads("\n".join(await models(config(tmp_path, upstream), "--json")))
    assert entries[0].keys() == {
        "model", "provider", "display_name", "context_tokens", "max_output_tokens", "input_modalities", "thinking",
    }  # fmt: skip
    assert {"chat-model", "anthropic-model"} <= {entry["model"] for entry in entries}


async def test_refreshing_asks_the_upstreams_and_remembers(tmp_path: Path, upstream: Upstream) -> None:
    path = tmp_path / "config.yaml"
    models_file = tmp_path / "found" / "models.json"
    path.write_text(
        json.dumps(
            {
                "auth-dir": str(tmp_path / "auth"),
                "models-file": str(models_file),
                "demo": False,
                "claude-api-key": [{"api-key": UPSTREAM_KEY, "base-url": upstream.url}],
            }
        ),
        "utf-8",
    )
    assert any(line.split()[0] == "claude-opus-5-5" for line in await models(path))
    upstream.script(listed({"data": [{"id": "claude-new", "max_input_tokens": 5000}], "has_more": False}))
    log = await models(path, "--refresh")
    assert f"kept in {models_file}" in log
    assert "claude: 1 models" in log
    assert [line.split() for line in await models(path)][1:] == [["claude-new", "claude", "5000"]]


async def test_where_no_list_is_found_nothing_is_kept(tmp_path: Path, upstream: Upstream) -> None:
    upstream.script(*[Answer(status=503, body=b"busy")] * 4)
    log = await models(config(tmp_path, upstream), "--refresh", code=1)
    assert "claude: the upstream answered 503" in log
    assert not (tmp_path / "models.json").exists()
