"""Models: those that clients are listed, and what is known of each provider's."""

import pytest

from cliproxy.providers import VENDORS
from tests.management.conftest import At
from tests.management.desk import Desk


async def test_the_list_is_what_clients_get(desk_with: At) -> None:
    desk = await desk_with(
        "openai-compatibility: [{name: local, base-url: 'http://127.0.0.1:9/v1', models: [{name: big, alias: mine}]}]\n"
        "models: {favourite: {targets: [mine]}}\n"
    )
    models = {model["id"]: model for model in (await desk.get("/models"))["models"]}
    assert models["mine"]["provider"] == "local" and models["favourite"]["provider"] == "local"
    assert "demo/echo" in models


@pytest.mark.parametrize("channel", ["gemini", "openai", *VENDORS])
async def test_each_channel_is_known(desk: Desk, channel: str) -> None:
    found = await desk.get(f"/model-definitions/{channel}")
    assert found["channel"] == channel
    assert all({"id", "object", "owned_by", "type", "display_name"} <= model.keys() for model in found["models"])


async def test_what_thinking_a_model_takes_is_told(desk: Desk) -> None:
    models = (await desk.get("/model-definitions/claude"))["models"]
    thinking = [model["thinking"] for model in models if "thinking" in model]
    assert thinking and thinking[0].keys() == {"min", "max", "zero_allowed", "dynamic_allowed", "levels"}


@pytest.mark.parametrize("channel", ["nobody", "%20", "openrouter"])
async def test_another_channel_is_refused(desk: Desk, channel: str) -> None:
    reply = await desk.ask("GET", f"/model-definitions/{channel}")
    assert (reply.status, reply.json["error"]) == (400, "unknown channel")
