"""cliproxy.wire.openai_responses.summary: the gateway's own `compaction` items."""

from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire.envelope import seal
from cliproxy.wire.model import Carrier, Opaque, Text, Turn
from cliproxy.wire.openai_responses import decode_request
from cliproxy.wire.openai_responses.summary import compaction_item, told


@given(st.text())
def test_a_summary_is_told_as_it_was_sealed(summary):
    item = compaction_item(summary)
    assert item["type"] == "compaction" and item["id"].startswith("cmp_")
    assert told(item["encrypted_content"]) == f"Summary of the conversation so far:\n\n{summary}"


def test_half_a_surrogate_pair_in_a_summary_does_no_harm():
    assert (told(compaction_item("a\ud800b")["encrypted_content"]) or "").endswith("a?b")


def test_what_others_encrypted_is_not_told():
    assert told("gAAAAABo") is None
    assert told(seal(Carrier("openai-responses", "encrypted", "gAAAAABo", "rs_1"))) is None


def test_a_conversation_goes_on_from_its_summary():
    items = [{"role": "user", "content": "hi"}, compaction_item("All is well."), {"role": "user", "content": "Go on."}]
    request = decode_request({"model": "m", "input": items})
    told_so = Text("Summary of the conversation so far:\n\nAll is well.")
    assert request.turns == [Turn("user", [Text("hi"), told_so, Text("Go on.")])]


def test_a_compaction_item_of_openais_is_kept_for_openai():
    item = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAAABo"}
    request = decode_request({"model": "m", "input": [item, {"role": "user", "content": "Go on."}]})
    assert request.turns[0] == Turn("assistant", [Opaque("openai-responses", item)])
