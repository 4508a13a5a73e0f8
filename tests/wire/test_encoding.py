"""cliproxy.wire.encoding: what all four request encoders do alike."""

import pytest

from cliproxy.wire import json
from cliproxy.wire.encoding import Encoding
from cliproxy.wire.errors import UnsupportedContent
from cliproxy.wire.model import (
    FORMATS,
    Media,
    ModelFacts,
    Opaque,
    Request,
    Sampling,
    ServerCall,
    ServerResult,
    ServerTool,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    Turn,
)
from cliproxy.wire.names import ToolNames
from cliproxy.wire.translation import CODECS

FACTS = ModelFacts("up")
HI = [Turn("user", [Text("Hi")])]
every_format = pytest.mark.parametrize("format", FORMATS)


def other_than(format):
    return next(other for other in FORMATS if other != format)


def encoding(facts=FACTS, **fields):
    request = Request(**{"origin": "openai-chat", "model": "m", "turns": HI, **fields})
    return Encoding(request, facts, "anthropic", ToolNames(64, "a-z_"))


def encoded(format, *, own=False, facts=FACTS, **fields):
    request = Request(**{"origin": format if own else other_than(format), "model": "m", "turns": HI, **fields})
    return CODECS[format].encode_request(request, facts)


# ---------------------------------------------------------------- losses


def test_the_same_loss_is_told_once_and_in_order():
    writing = encoding()
    writing.drop("b", "no place")
    writing.drop("a", "no place")
    writing.drop("b", "no place")
    assert writing.encoded({"x": 1}).dropped == ["b: no place", "a: no place"]


def test_settings_that_were_not_made_are_no_loss():
    writing = encoding()
    writing.drop_settings("no place", a=None, b=False, c=[], d=0, e="x")
    assert writing.encoded({}).dropped == ["d: no place", "e: no place"]


@pytest.mark.parametrize(
    ("part", "line"),
    [
        (ServerTool("bash", "anthropic", {}), "tools.bash: it runs at anthropic and has no counterpart here"),
        (ServerCall("1", "web_search", "gemini"), "web_search in the history: it ran at gemini"),
        (ServerResult("1", "web_search", "gemini"), "web_search in the history: it ran at gemini"),
        (Opaque("anthropic", {"type": "container_upload"}), "container_upload: only anthropic knows it"),
        (Opaque("gemini", {"x": 1}), "content: only gemini knows it"),
    ],
)
def test_what_only_its_origin_understands(part, line):
    writing = encoding()
    writing.drop_foreign(part)
    assert writing.encoded({}).dropped == [line]


EXTRAS = {"zz_top": 1, "zz.nested": 2, "zz[].entry": [3]}


@every_format
def test_extras_go_to_their_own_format_only(format):
    own, foreign = encoded(format, own=True, extras=EXTRAS), encoded(format, extras=EXTRAS)
    assert (own.body["zz_top"], own.body["zz"]) == (1, {"nested": 2})
    assert own.dropped == ["zz[].entry: kept only where the body passes as it is"]
    assert b"zz" not in json.dumps(foreign.body)
    assert [line.partition(":")[0] for line in foreign.dropped] == list(EXTRAS)


def test_extras_do_not_replace_what_is_written():
    body = {"model": "up"}
    encoding(origin="anthropic", extras={"model": "x"}).write_extras(body, "no place")
    assert body == {"model": "up"}


@every_format
def test_the_names_of_speakers_are_recorded(format):
    body = {"model": "m", "messages": [{"role": "user", "name": "bob", "content": "Hi"}]}
    result = CODECS[format].encode_request(CODECS["openai-chat"].decode_request(body), FACTS)
    assert b"bob" not in json.dumps(result.body)
    assert [line.partition(":")[0] for line in result.dropped] == ["messages[].name"]


# ---------------------------------------------------------------- what the model can do

MEDIA = [
    Media("image", "image/png", data="AAEC"),
    Media("audio", "audio/wav", data="AAEC"),
    Media("video", "video/mp4", data="AAEC"),
]


@pytest.mark.parametrize("part", MEDIA)
def test_media_that_the_model_does_not_take_are_refused(part):
    known = ("TEXT", part.kind)
    encoding(ModelFacts("up", input_modalities=known)).check_media(part)
    encoding().check_media(part)
    with pytest.raises(UnsupportedContent, match=rf"{part.kind}.* cannot be sent to a up upstream"):
        encoding(ModelFacts("up", input_modalities=("text",))).check_media(part)


@pytest.mark.parametrize(
    "part",
    [
        Media("document", "application/pdf", data="AAEC"),
        Media("document", text="plain"),
        Media("image", url="https://a.test/a.png"),
        Media("document", file_id="file_1", origin="anthropic"),
        Media("document", url="https://files.test/1", origin="anthropic"),
    ],
)
def test_media_that_everybody_can_send_pass(part):
    encoding(ModelFacts("up", input_modalities=("text", "image"))).check_media(part)


@pytest.mark.parametrize(
    ("part", "content"),
    [
        (Media("image", file_id="file_1"), "the uploaded file file_1"),
        (Media("image", file_id="file_1", origin="openai-chat"), "the uploaded file file_1"),
        (Media("video", url="gs://x", origin="gemini"), "video that only gemini can fetch, gs://x,"),
    ],
)
def test_uploads_at_another_vendor_are_refused(part, content):
    with pytest.raises(UnsupportedContent) as refused:
        encoding().check_media(part)
    assert refused.value.message == f"{content} cannot be sent to a Messages upstream"


@every_format
@pytest.mark.parametrize("part", MEDIA[:1])
def test_every_encoder_asks(format, part):
    facts = ModelFacts("up", input_modalities=("text",))
    with pytest.raises(UnsupportedContent):
        encoded(format, facts=facts, turns=[Turn("user", [part])])


@every_format
def test_sound_goes_where_there_is_a_slot(format):
    turns = [Turn("user", [Text("Listen"), MEDIA[1]])]
    if format == "anthropic":
        with pytest.raises(UnsupportedContent, match="audio"):
            encoded(format, turns=turns)
    else:
        assert b'"AAEC"' in json.dumps(encoded(format, turns=turns).body)


def test_whether_a_model_hears_is_for_the_responses_api_to_say():
    facts = ModelFacts("up", input_modalities=("text", "image"))
    result = encoded("openai-responses", facts=facts, turns=[Turn("user", [MEDIA[1]])])
    assert result.body["input"][0]["content"][0]["type"] == "input_audio"


@every_format
@pytest.mark.parametrize(("asked", "sent", "lost"), [(50, 50, []), (500, 100, ["max_tokens"]), (None, None, [])])
def test_the_output_limit_is_cut_to_what_the_model_writes(format, asked, sent, lost):
    result = encoded(format, facts=ModelFacts("up", max_output_tokens=100), sampling=Sampling(max_tokens=asked))
    body = {**result.body, **result.body.get("generationConfig", {})}
    fields = ("max_tokens", "max_output_tokens", "maxOutputTokens")
    found = next((body[field] for field in fields if field in body), None)
    # Messages always has one.
    assert found == (sent or (100 if format == "anthropic" else None))
    assert [line.partition(":")[0] for line in result.dropped] == lost


@every_format
def test_one_answer_is_asked_for_and_told(format):
    """Only one can be translated."""
    result = encoded(format, sampling=Sampling(candidates=3))
    assert not {"n", "generationConfig"} & result.body.keys()
    assert result.dropped == ["n: one answer is asked for, not 3"]
    assert encoded(format, sampling=Sampling(candidates=1)).dropped == []


@pytest.mark.parametrize("format", ["openai-chat", "gemini"])
def test_a_client_of_the_same_format_may_read_more_answers(format):
    body = encoded(format, own=True, sampling=Sampling(candidates=3)).body
    assert {**body, **body.get("generationConfig", {})}["n" if format == "openai-chat" else "candidateCount"] == 3


@every_format
def test_probabilities_have_no_way_back(format):
    result = encoded(format, sampling=Sampling(logprobs=True, top_logprobs=2))
    assert b"logprobs" not in json.dumps(result.body)
    assert [line.partition(":")[0] for line in result.dropped] == ["logprobs"]
    assert encoded(format, sampling=Sampling(logprobs=False)).dropped == []


# ---------------------------------------------------------------- tools


@every_format
def test_a_tools_extras_go_to_their_own_format_only(format):
    tools = [Tool("f", schema={"type": "object"}, extras={"zz_eager": True})]
    own, foreign = encoded(format, own=True, tools=tools), encoded(format, tools=tools)
    assert b'"zz_eager":true' in json.dumps(own.body["tools"])
    assert own.dropped == []
    assert b"zz_eager" not in json.dumps(foreign.body)
    assert foreign.dropped == [f"tools.zz_eager: only {other_than(format)} knows it"]


@every_format
def test_what_a_client_says_of_a_tool_comes_back_to_its_format(format):
    """Anthropic's `input_examples`, for instance."""
    tools = {
        "openai-chat": [{"type": "function", "function": {"name": "f", "parameters": {}, "zz": 1}}],
        "openai-responses": [{"type": "function", "name": "f", "parameters": {}, "zz": 1}],
        "anthropic": [{"name": "f", "input_schema": {}, "zz": 1}],
        "gemini": [{"functionDeclarations": [{"name": "f", "zz": 1}]}],
    }[format]
    conversation = {"messages": [{"role": "user", "content": "Hi"}], "input": "Hi", "contents": "Hi"}
    request = CODECS[format].decode_request({**conversation, "tools": tools}, model="m")
    assert [tool.extras for tool in request.tools if isinstance(tool, Tool)] == [{"zz": 1}]
    assert b'"zz":1' in json.dumps(CODECS[format].encode_request(request, FACTS).body["tools"])


def test_only_the_tools_that_a_choice_allows():
    tools = [Tool("a"), ServerTool("b", "gemini", {}), Tool("c")]
    assert encoding(tools=tools).allowed_tools() == tools
    assert encoding(tools=tools, tool_choice=ToolChoice("named", ["a"])).allowed_tools() == tools
    assert encoding(tools=tools, tool_choice=ToolChoice("allowed", ["a", "b"])).allowed_tools() == tools[:2]


@every_format
def test_names_stay_as_they_are_while_the_history_grows(format):
    """Class 13: a call of the second tool must not take the first one's name."""
    tools = [Tool("f g"), Tool("f_g")]
    calls = [Turn("user", [Text("Hi")]), Turn("assistant", [ToolCall("call_1", "f_g", "{}")])]
    assert encoded(format, tools=tools, turns=HI).names == encoded(format, tools=tools, turns=calls).names != {}
