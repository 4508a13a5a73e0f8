"""cliproxy.wire.gemini.contents: the conversation as Gemini takes it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.wire import history
from cliproxy.wire.errors import UnsupportedContent
from cliproxy.wire.gemini import encode_request
from cliproxy.wire.model import (
    Carrier,
    Encoded,
    Media,
    ModelFacts,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    ServerCall,
    ServerResult,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from tests.wire.gemini.judge import check_request

OLD, NEW = ModelFacts("gemini-2.5-pro"), ModelFacts("gemini-3-pro-preview")
FILLER = "skip_thought_signature_validator"
OWN = Carrier("gemini", "signature", "c2ln")
FOREIGN = Carrier("anthropic", "signature", "EqQB")
USER = Turn("user", [Text("hi")])


def write(*turns: Turn, facts: ModelFacts = OLD, **fields: Any) -> Encoded:
    request = Request(fields.pop("origin", "openai-chat"), "m", history.repair(list(turns), []), **fields)
    encoded = encode_request(request, facts)
    check_request(encoded.body)
    return encoded


def contents(*turns: Turn, facts: ModelFacts = OLD) -> list[Any]:
    return write(*turns, facts=facts).body["contents"]


def answered(result: ToolResult, *more: Part) -> list[Any]:
    """The parts of the turn that returns `result` for a call of `f`."""
    result.id = "1"
    return contents(USER, Turn("assistant", [ToolCall("1", "f", "{}")]), Turn("user", [result, *more]))[2]["parts"]


def response_of(result: ToolResult) -> Any:
    return answered(result)[0]["functionResponse"]["response"]


def test_a_conversation() -> None:
    call, result = ToolCall("1", "get it", '{"a":1}'), ToolResult("1", [Text("ok")])
    turns = [USER, Turn("assistant", [Text("Let me"), call]), Turn("user", [result, Text("and?")])]
    encoded = write(*turns, system=[Text("Be kind"), Text("")])
    assert encoded.body["systemInstruction"] == {"parts": [{"text": "Be kind"}]}
    assert encoded.body["contents"][1:] == [
        {
            "role": "model",
            "parts": [{"text": "Let me"}, {"functionCall": {"id": "1", "name": "get_it", "args": {"a": 1}}}],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "1", "name": "get_it", "response": {"result": "ok"}}},
                {"text": "and?"},
            ],
        },
    ]


def test_the_user_begins() -> None:
    first, second = contents(Turn("assistant", [Text("Welcome!")]), USER)[:2]
    assert (first["role"], first["parts"][0]["text"].strip()) == ("user", "")
    assert first["parts"][0]["text"]
    assert second == {"role": "model", "parts": [{"text": "Welcome!"}]}


def test_instructions_alone_still_have_a_turn_to_answer() -> None:
    encoded = write(system=[Text("Be kind")])
    assert encoded.body["systemInstruction"] == {"parts": [{"text": "Be kind"}]}
    assert len(encoded.body["contents"]) == 1


def test_a_system_message_in_mid_conversation_is_passed_on_by_the_user() -> None:
    system = Turn("system", [Text("Speak French")])
    turn = contents(USER, Turn("assistant", [Text("A")]), system, Turn("user", [Text("Q2")]))[2]
    assert turn["role"] == "user"
    assert [part["text"] for part in turn["parts"]] == [
        "<system-reminder>\nSpeak French\n</system-reminder>",
        "Q2",
    ]


def test_a_system_message_does_not_part_a_call_from_its_result() -> None:
    """class 2: results stand first in the turn after their calls."""
    turns = [
        USER,
        Turn("assistant", [ToolCall("1", "f", "{}")]),
        Turn("system", [Text("hurry")]),
        Turn("user", [ToolResult("1", [Text("ok")])]),
    ]
    kinds = [next(iter(part)) for part in contents(*turns)[2]["parts"]]
    assert kinds == ["functionResponse", "text"]


def test_a_refusal_is_what_the_model_said() -> None:
    assert contents(USER, Turn("assistant", [Refusal("I will not")]), USER)[1]["parts"] == [{"text": "I will not"}]


# ---------------------------------------------------------------- calls and results


@pytest.mark.parametrize(
    ("call", "args"),
    [
        (ToolCall("1", "f", ""), {}),
        (ToolCall("1", "f", '{"a": '), {}),
        (ToolCall("1", "f", "[1]"), {}),
        (ToolCall("1", "f", '{"a": "\\ud800"}'), {"a": "\ud800"}),
        (ToolCall("1", "exec", "let x = 1", kind="custom"), {"input": "let x = 1"}),
    ],
)
def test_arguments_are_an_object(call: ToolCall, args: Any) -> None:
    assert contents(USER, Turn("assistant", [call]))[1]["parts"][0]["functionCall"]["args"] == args


@pytest.mark.parametrize(
    ("result", "response"),
    [
        (ToolResult("", [Text("sunny")]), {"result": "sunny"}),
        (ToolResult("", [Text("a"), Text("b")]), {"result": "a\nb"}),
        (ToolResult("", [Text('{"t": 20}')]), {"t": 20}),
        (ToolResult("", [Text("{}")]), {}),
        (ToolResult("", [Text("[1]")]), {"result": "[1]"}),
        (ToolResult("", [Text('{"broken')]), {"result": '{"broken'}),
        (ToolResult("", []), {"result": ""}),
        (ToolResult("", [Text("no")], is_error=True), {"error": "no"}),
        (ToolResult("", [Text('{"t": 20}')], is_error=True), {"error": '{"t": 20}'}),
        (ToolResult("", [Media("document", text="page one")]), {"result": "page one"}),
    ],
)
def test_a_result_is_an_object(result: ToolResult, response: Any) -> None:
    assert response_of(result) == response


def test_media_in_results_stand_beside_them() -> None:
    """class 10: screenshots in tool results are kept, where old and new models see them."""
    image = Media("image", "image/png", data="iVBO")
    calls = [ToolCall("1", "f", "{}"), ToolCall("2", "g", "{}")]
    results: list[Part] = [ToolResult("1", [image]), ToolResult("2", [Text("seen"), image]), Text("and?")]
    parts = contents(USER, Turn("assistant", [*calls]), Turn("user", results))[2]["parts"]
    assert [next(iter(part)) for part in parts] == [
        "functionResponse",
        "functionResponse",
        "inlineData",
        "inlineData",
        "text",
    ]
    assert parts[0]["functionResponse"]["response"] == {"result": "attached: image/png"}
    assert parts[1]["functionResponse"]["response"] == {"result": "seen"}


# ---------------------------------------------------------------- signatures


def test_only_own_signatures_are_sent() -> None:
    """class 6: what another vendor signed never reaches Gemini."""
    parts: list[Part] = [
        Reasoning("mine", OWN),
        Reasoning("foreign", FOREIGN),
        Reasoning("nobody's"),
        Text("a", carrier=OWN),
        Text("b", carrier=FOREIGN),
        ToolCall("1", "f", "{}", carrier=OWN),
        ToolCall("2", "f", "{}", carrier=FOREIGN),
    ]
    encoded = write(USER, Turn("assistant", parts))
    assert encoded.body["contents"][1]["parts"] == [
        {"text": "mine", "thought": True, "thoughtSignature": "c2ln"},
        {"text": "a", "thoughtSignature": "c2ln"},
        {"text": "b"},
        {"functionCall": {"id": "1", "name": "f", "args": {}}, "thoughtSignature": "c2ln"},
        {"functionCall": {"id": "2", "name": "f", "args": {}}},
    ]
    assert [line.partition(":")[0] for line in encoded.dropped] == ["reasoning"]


def test_a_gemini_clients_own_thoughts_go_back() -> None:
    turns = (USER, Turn("assistant", [Reasoning("hm"), Reasoning("foreign", FOREIGN), Text("a")]))
    parts = write(*turns, origin="gemini").body["contents"][1]["parts"]
    assert parts == [{"text": "hm", "thought": True}, {"text": "a"}]


def step(number: int, *carriers: Carrier | None) -> list[Turn]:
    ids = [f"{number}{letter}" for letter, _ in zip("abc", carriers, strict=False)]
    calls = [ToolCall(id, "f", "{}", carrier=carrier) for id, carrier in zip(ids, carriers, strict=True)]
    return [Turn("assistant", [*calls]), Turn("user", [ToolResult(id, [Text("ok")]) for id in ids])]


def signatures(turns: list[Any]) -> list[str | None]:
    return [part.get("thoughtSignature") for turn in turns for part in turn["parts"] if "functionCall" in part]


def test_unsigned_calls_of_the_current_loop_get_googles_filler() -> None:
    """class 6: Gemini 3 refuses a loop whose steps are not signed; older turns are not checked."""
    turns = [
        USER,
        *step(1, None),
        Turn("assistant", [Text("done")]),
        USER,
        *step(2, None, None),
        *step(3, OWN),
    ]
    assert signatures(contents(*turns, facts=NEW)) == [None, FILLER, None, "c2ln"]
    assert signatures(contents(*turns, facts=OLD)) == [None, None, None, "c2ln"]


def test_a_reminder_beside_results_does_not_end_the_loop() -> None:
    turns = [USER, *step(1, None), Turn("system", [Text("hurry")]), *step(2, None)]
    assert signatures(contents(*turns, facts=NEW)) == [FILLER, FILLER]


# ---------------------------------------------------------------- media and foreign parts


@pytest.mark.parametrize(
    ("media", "part"),
    [
        (Media("image", "image/png", data="iVBO"), {"inlineData": {"mimeType": "image/png", "data": "iVBO"}}),
        (Media("audio", "audio/wav", data="UklG"), {"inlineData": {"mimeType": "audio/wav", "data": "UklG"}}),
        (Media("document", data="JVBE"), {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}}),
        (Media("document", "text/plain", text="cats"), {"text": "cats"}),
        (Media("document", "text/plain", text="cats", name="a.txt"), {"text": "a.txt\n\ncats"}),
        (
            Media("image", url="https://x.test/a.webp?x=1"),
            {"fileData": {"mimeType": "image/webp", "fileUri": "https://x.test/a.webp?x=1"}},
        ),
        (
            Media("image", url="https://x.test/a"),
            {"fileData": {"mimeType": "image/png", "fileUri": "https://x.test/a"}},
        ),
        (
            Media("video", "video/mp4", url="files/x", origin="gemini"),
            {"fileData": {"mimeType": "video/mp4", "fileUri": "files/x"}},
        ),
    ],
)
def test_media(media: Media, part: Any) -> None:
    """class 10: images, sounds and papers, in the request or behind an address."""
    assert contents(Turn("user", [media]))[0]["parts"] == [part]


@pytest.mark.parametrize(
    ("media", "facts"),
    [
        (Media("document", file_id="file-1"), OLD),
        (Media("image", file_id="file-1", origin="openai-chat"), OLD),
        (Media("image", url="sandbox:/a.png", origin="openai-responses"), OLD),
        (Media("audio", "audio/wav", data="UklG"), ModelFacts("m", input_modalities=("text", "image"))),
    ],
)
def test_content_that_cannot_be_sent_is_refused(media: Media, facts: ModelFacts) -> None:
    with pytest.raises(UnsupportedContent):
        contents(Turn("user", [media]), facts=facts)


def test_an_image_in_the_system_prompt_is_refused() -> None:
    with pytest.raises(UnsupportedContent, match="image"):
        write(USER, system=[Media("image", "image/png", data="iVBO")])


def test_vendor_side_parts_go_to_their_vendor_only() -> None:
    code = {"executableCode": {"code": "1", "language": "PYTHON"}}
    parts: list[Part] = [
        ServerCall("1", "code_execution", "gemini", raw=code),
        ServerCall("2", "web_search", "anthropic", {"query": "q"}, raw={"type": "server_tool_use"}),
        ServerResult("2", "web_search", "anthropic", raw={"type": "web_search_tool_result"}),
        Opaque("anthropic", {"type": "container_upload"}),
        Text("found"),
    ]
    encoded = write(USER, Turn("assistant", parts))
    assert encoded.body["contents"][1]["parts"] == [code, {"text": "found"}]
    assert [line.partition(":")[0] for line in encoded.dropped] == ["web_search in the history", "container_upload"]


# ---------------------------------------------------------------- any conversation

_carriers = st.sampled_from([None, OWN, FOREIGN])
_texts = st.sampled_from(["", "x", "{}", '{"a":1}'])
_media = st.just(Media("image", "image/png", data="iVBO"))
_ids = st.sampled_from(["", "1", "2"])
_results = st.builds(
    ToolResult, _ids, st.lists(st.builds(Text, _texts) | _media, max_size=2), st.just("f"), st.booleans()
)
_user = st.builds(Text, _texts) | _media | _results
_said = st.builds(Text, _texts, st.just([]), _carriers) | st.builds(Reasoning, _texts, _carriers)
_calls = st.builds(ToolCall, _ids, st.sampled_from(["f", "g h"]), _texts, carrier=_carriers)
_turns = st.one_of(
    st.builds(Turn, st.just("user"), st.lists(_user, max_size=3)),
    st.builds(Turn, st.just("assistant"), st.lists(_said | _calls, max_size=3)),
    st.builds(Turn, st.just("system"), st.lists(st.builds(Text, _texts), max_size=2)),
)


@given(st.lists(_turns, max_size=6), st.sampled_from([OLD, NEW]))
@settings(max_examples=100)
def test_any_conversation_is_legal_and_keeps_its_pairs(turns: list[Turn], facts: ModelFacts) -> None:
    """class 2: each result answers a call of the turn before, by id and by name."""
    called: dict[str, str] = {}
    for turn in contents(*turns, facts=facts):
        results = {
            part["functionResponse"]["id"]: part["functionResponse"]["name"]
            for part in turn["parts"]
            if "functionResponse" in part
        }
        assert results == (called if turn["role"] == "user" else {})
        called = {
            part["functionCall"]["id"]: part["functionCall"]["name"] for part in turn["parts"] if "functionCall" in part
        }
