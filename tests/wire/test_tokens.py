"""cliproxy.wire.tokens: an estimate that clients can plan by (class 8)."""

import base64
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire.media import image_size
from cliproxy.wire.model import (
    Media,
    Opaque,
    OutputFormat,
    Reasoning,
    Refusal,
    Request,
    ServerCall,
    ServerResult,
    ServerTool,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from cliproxy.wire.tokens import count, estimate


def asked(*parts, **more):
    return Request("openai-chat", "m", [Turn("user", list(parts))], **more)


# Counted with o200k_base.
TEXTS = [
    ("The quick brown fox jumps over the lazy dog, and nobody in the village seems to mind at all.", 21),
    (
        '{"type":"object","properties":{"city":{"type":"string","description":"City name"}},"required":["city"]}',
        24,
    ),
    ("def add(left: int, right: int) -> int:\n    return left + right\n", 19),
    ("Широкая электрификация южных губерний даст мощный толчок подъёму сельского хозяйства.", 26),
    ("我们在北京的公司正在开发新的人工智能模型。我们希望明年能够发布。", 18),
    ("会議は午後三時から始まりますので、資料を準備してください。", 18),
    ("우리는 내일 아침 일찍 서울역에서 만나기로 했습니다.", 16),
    ("The order 4711 of 2024-05-17 over 1,299.00 was shipped to 221B Baker Street.", 29),
]


@pytest.mark.parametrize(("text", "tokens"), TEXTS)
def test_estimate_is_near_what_a_tokenizer_counts(text, tokens):
    assert estimate(text) == pytest.approx(tokens, rel=0.45)


def test_the_errors_even_out():
    assert sum(estimate(text) for text, _ in TEXTS) == pytest.approx(sum(tokens for _, tokens in TEXTS), rel=0.1)


@given(st.text(), st.text())
def test_more_text_has_no_fewer_tokens(text, more):
    assert 0 <= estimate(text) <= estimate(text + more)
    assert (estimate(text) == 0) == (text == "")


@given(st.text(min_size=1, max_size=20))
def test_twice_the_text_has_twice_the_tokens(text):
    assert estimate((text + " ") * 40) == pytest.approx(2 * estimate((text + " ") * 20), rel=0.05, abs=2)


EMPTY = asked()
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


@pytest.mark.parametrize(
    "request_",
    [
        asked(Text("hello")),
        asked(Reasoning("hello")),
        asked(Refusal("hello")),
        asked(ToolCall("a", "f", '{"a":1}')),
        asked(ToolResult("a", [Text("hello"), Media("image", data="AA==")])),
        asked(Media("image", url="https://example.test/a.png")),
        asked(Media("document", data="JVBERi0=")),
        asked(Media("document", file_id="file-1")),
        asked(Media("document", text="hello")),
        asked(Media("audio", data="AAAA")),
        asked(Media("video", data="AAAA")),
        asked(Opaque("gemini", {"a": "hello"})),
        asked(ServerCall("a", "web_search", "anthropic", {"query": "hello"})),
        asked(ServerResult("a", "web_search", "anthropic", raw={"a": "hello"})),
        asked(ServerResult("a", "web_search", "anthropic")),
        asked(system=[Text("hello")]),
        asked(tools=[Tool("f")]),
        asked(tools=[Tool("f", "hello", SCHEMA)]),
        asked(tools=[Tool("f", kind="custom", grammar={"syntax": "lark"})]),
        asked(tools=[ServerTool("web_search", "anthropic", {"type": "web_search_20250305"})]),
        asked(output=OutputFormat("json_schema", schema=SCHEMA)),
    ],
)
def test_everything_in_a_request_counts(request_):
    assert count(request_) > count(EMPTY)


def test_a_tokenizer_counts_the_texts():
    request = asked(Text("hello"), system=[Text("be brief")], tools=[Tool("f", "d", SCHEMA)])
    seen = []
    counted = count(request, lambda text: seen.append(text) or 100)
    assert set(seen) == {
        "hello",
        "be brief",
        "f",
        "d",
        '{"type":"object","properties":{"city":{"type":"string"}}}',
    }
    assert counted == 500 + count(request, lambda text: 0)


def test_turns_cost_something_of_their_own():
    many = Request("anthropic", "m", [Turn("user", [Text("a")]), Turn("assistant", [Text("a")])])
    one = Request("anthropic", "m", [Turn("user", [Text("a"), Text("a")])])
    assert count(many) > count(one)


# ---------------------------------------------------------------- images


def png(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def jpeg(width, height, before=b""):
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\x01\x22\x00\x02\x11\x01\x03\x11\x01"
    return b"\xff\xd8\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0\1\1\0\0\1\0\1\0\0" + before + frame


def gif(width, height):
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0"


def webp(kind, payload):
    return b"RIFF" + struct.pack("<I", 100) + b"WEBP" + kind + struct.pack("<I", 80) + payload + b"\0" * 20


def base64_of(data):
    return base64.b64encode(data).decode()


IMAGES = {
    "png": png(640, 480),
    "jpeg": jpeg(640, 480),
    "jpeg with a table before": jpeg(640, 480, b"\xff\xc4" + struct.pack(">H", 5) + b"abc"),
    "gif": gif(640, 480),
    "webp lossy": webp(b"VP8 ", b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", 640, 480)),
    "webp lossless": webp(b"VP8L", b"\x2f" + struct.pack("<I", 639 | 479 << 14)),
    "webp extended": webp(b"VP8X", b"\0\0\0\0" + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")),
}


@pytest.mark.parametrize("name", IMAGES)
def test_the_size_of_an_image_is_in_its_head(name):
    assert image_size(base64_of(IMAGES[name])) == (640, 480)
    assert count(asked(Media("image", data=base64_of(IMAGES[name])))) - count(EMPTY) == round(640 * 480 / 750)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_cut_short_has_no_size_or_the_right_one(name):
    for length in range(len(IMAGES[name])):
        assert image_size(base64_of(IMAGES[name][:length])) in (None, (640, 480))


@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFFxxxxWEBPVP8 "]),
)
def test_any_bytes_have_a_size_or_none(data, head):
    size = image_size(base64_of(head + data))
    assert size is None or min(size) > 0


@pytest.mark.parametrize("text", ["", "!", "not base64 at all", "ä"])
def test_what_is_no_image_has_no_size(text):
    assert image_size(text) is None


def test_large_images_cost_no_more_than_the_largest():
    assert count(asked(Media("image", data=base64_of(png(9000, 9000))))) - count(EMPTY) == 1600
    assert count(asked(Media("image", data=base64_of(png(9000, 90))))) - count(EMPTY) < 100
