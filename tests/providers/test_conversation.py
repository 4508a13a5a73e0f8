"""cliproxy.providers.conversation: names for prompt caches."""

from uuid import UUID

from cliproxy.providers.conversation import conversation_id


def test_a_conversation_has_one_name() -> None:
    assert conversation_id("one") == conversation_id("one") == str(UUID(conversation_id("one")))
    assert conversation_id("one") != conversation_id("two")
    assert conversation_id("") == ""
