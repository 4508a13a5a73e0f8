"""What a credential is: its identity, what people see of it, and the groups that candidates form."""

from typing import Any

import pytest

from cliproxy.credentials.record import grouped
from tests.candidates import candidate, credential


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "other"},
        {"base_url": "http://other.test"},
        {"secret": "sk-test-other"},
        {"proxy_url": "http://proxy.test"},
        {"prefix": "team"},
        {"headers": {"x-project": "two"}},
    ],
)
def test_identity_is_what_a_credential_is(change: dict[str, Any]) -> None:
    name = change.pop("secret", "sk-test-a").removeprefix("sk-test-")
    assert credential(name, **change).id != credential("a").id


@pytest.mark.parametrize("change", [{"weight": 7}, {"priority": 3}, {"max_concurrent": 1}, {"cools": False}])
def test_identity_does_not_depend_on_how_it_is_used(change: dict[str, Any]) -> None:
    assert credential("a", **change).id == credential("a").id


def test_a_secret_is_shown_nowhere() -> None:
    one = credential("a-long-secret", headers={"authorization": "sk-test-a-long-secret"}, proxy_url="http://u:p@x")
    assert "a-long-secret" not in repr(one) + one.label + one.id
    assert "u:p" not in repr(one)
    assert one.label.startswith("claude sk-t…#")


def test_exclusions_are_patterns_without_regard_to_case() -> None:
    one = credential("a", excluded=("gpt-4*", "*-preview"))
    assert one.excludes("GPT-4o")
    assert one.excludes("gemini-Preview")
    assert not one.excludes("gpt-5")


def test_a_client_format_is_served_natively_or_where_conversion_is_allowed() -> None:
    assert credential("a").serves("gemini")
    narrow = credential("a", convert_from=("openai-chat",))
    assert (narrow.serves("anthropic"), narrow.serves("openai-chat"), narrow.serves("gemini")) == (True, True, False)


def test_groups_are_by_priority_highest_first_in_the_order_of_the_config() -> None:
    a, b, c = candidate("a"), candidate("b", priority=5), candidate("c")
    high, low = grouped("model", [a, b, c])
    assert (high.candidates, low.candidates) == ((b,), (a, c))


def test_a_groups_key_is_its_members() -> None:
    def key(name: str, *weights: int) -> str:
        (group,) = grouped(name, [candidate(str(index), weight=weight) for index, weight in enumerate(weights)])
        return group.key

    assert key("model", 1, 2) == key("model", 1, 2)
    assert len({key("model", 1, 2), key("model", 2, 1), key("model", 1), key("other", 1, 2)}) == 4
