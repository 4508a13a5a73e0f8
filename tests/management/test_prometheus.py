"""Figures for Prometheus: off by default, counted right, bounded, and with nothing secret in them."""

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from cliproxy.exchange import CLIENT_LEFT
from cliproxy.management.inventory import inventory
from cliproxy.management.metrics import MAX_MODELS, OTHER
from cliproxy.stores.file import FileStore
from cliproxy.stores.replica import Replica
from tests.management.conftest import At
from tests.management.desk import KEY, Desk
from tests.stores.memory_store import MemoryStore
from tests.usage.exchanges import attempt, exchange

ON = "metrics: {enabled: true}\nclaude-api-key: [{api-key: sk-test-1, base-url: 'http://127.0.0.1:9'}]\n"
THERE = "203.0.113.7"


async def samples(desk: Desk) -> dict[str, float]:
    """By name and labels."""
    reply = await desk.ask("GET", "//metrics", key=None)
    assert reply.status == 200 and reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {}
    for family in text_string_to_metric_families(reply.text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


async def test_it_is_off_unless_it_is_switched_on(desk: Desk) -> None:
    desk.operator.settled(exchange())
    assert (await desk.ask("GET", "//metrics")).status == 404
    assert not desk.operator.metrics.is_on


async def test_exchanges_and_attempts_are_counted(desk_with: At) -> None:
    desk = await desk_with(ON)
    desk.operator.settled(exchange(attempt(status=429, error="full"), attempt(2)))
    desk.operator.settled(exchange(attempt(error=CLIENT_LEFT), status=499))
    found = await samples(desk)
    assert found["cliproxy_requests_total{format=anthropic,operation=generate,status=200}"] == 1
    assert found["cliproxy_requests_total{format=anthropic,operation=generate,status=499}"] == 1
    for outcome in ("failed", "served", "given_up"):
        assert found[f"cliproxy_attempts_total{{model=claude-sonnet-4-5,outcome={outcome},provider=claude}}"] == 1
    assert found["cliproxy_tokens_total{kind=input,model=claude-sonnet-4-5,provider=claude}"] == 300
    assert found["cliproxy_tokens_total{kind=cache_read,model=claude-sonnet-4-5,provider=claude}"] == 150
    assert found["cliproxy_cost_usd_total{model=claude-sonnet-4-5,provider=claude}"] > 0
    assert found["cliproxy_request_duration_seconds_count{provider=claude}"] == 1
    assert found["cliproxy_request_duration_seconds_sum{provider=claude}"] == 1
    assert 0 < found["cliproxy_first_byte_seconds_sum{provider=claude}"] < 1


async def test_the_state_of_things_is_told(desk_with: At) -> None:
    desk = await desk_with(ON)
    (key,) = [entry for entry in inventory(desk.operator) if entry.kind == "key"]
    desk.memory.pool.cooldowns.sideline(
        key.credentials[0].id, "m", None, seconds=60, reason="quota", status=429, message="used up"
    )
    desk.operator.running.accounts.refresher.outcomes["renewed"] += 3
    found = await samples(desk)
    assert found["cliproxy_credentials{provider=claude,state=cooling}"] == 1
    assert found["cliproxy_cooldowns{provider=claude,reason=quota}"] == 1
    assert found["cliproxy_refreshes_total{outcome=renewed}"] == 3
    assert (found["cliproxy_ledger_waiting{}"], found["cliproxy_ledger_lost_total{}"]) == (0, 0)


async def test_models_that_clients_invent_do_not_fill_the_memory(desk_with: At) -> None:
    desk = await desk_with(ON)
    for number in range(MAX_MODELS + 50):
        desk.operator.settled(exchange(attempt(model=f"invented-{number}", provider="any")))
    desk.operator.settled(exchange(attempt(provider="never seen")))
    found = await samples(desk)
    models = {name for name in found if name.startswith("cliproxy_attempts_total") and "outcome=served" in name}
    assert len(models) == MAX_MODELS + 1
    assert found[f"cliproxy_attempts_total{{model={OTHER},outcome=served,provider={OTHER}}}"] == 51


async def test_other_machines_need_the_key_and_to_be_allowed(desk_with: At) -> None:
    desk = await desk_with(ON)
    assert (await desk.ask("GET", "//metrics", peer=THERE)).status == 403
    text = desk.config_text().replace("remote-management:\n", "remote-management:\n  allow-remote: true\n")
    await desk.ask("PUT", "/config.yaml", body=text.encode())
    assert (await desk.ask("GET", "//metrics", key=None, peer=THERE)).status == 401
    assert (await desk.ask("GET", "//metrics", peer=THERE)).status == 200


async def test_no_secret_and_no_account_is_in_it(desk_with: At) -> None:
    desk = await desk_with(ON)
    desk.operator.settled(exchange(attempt(credential="codex me@example.com"), client_key="laptop"))
    text = (await desk.ask("GET", "//metrics")).text
    for word in ("sk-test-1", KEY, "me@example.com", "laptop", "127.0.0.1:9"):
        assert word not in text


async def test_a_store_is_told_of_where_there_is_one(desk_with: At) -> None:
    desk = await desk_with(ON)
    assert "cliproxy_store_away{}" not in await samples(desk)
    replica = Replica(FileStore(desk.folder / "copy"), MemoryStore())
    desk.operator.running = replace(desk.operator.running, replica=replica)
    assert (await samples(desk))["cliproxy_store_away{}"] == 0
    replica.trouble = "it is away"
    assert (await samples(desk))["cliproxy_store_away{}"] == 1
