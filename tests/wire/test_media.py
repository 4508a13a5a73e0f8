"""cliproxy.wire.media: data URLs, media types, audio formats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire.media import audio_format, audio_mime, data_url, mime_of, parse_data_url
from cliproxy.wire.model import Media


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("data:image/png;base64,AAEC", ("image/png", "AAEC")),
        ("DATA:Image/PNG;BASE64,AAEC", ("image/png", "AAEC")),
        ("data:text/plain;charset=utf-8;base64,AAEC", ("text/plain", "AAEC")),
        ("data:application/pdf;name=a.pdf; base64,AAEC", ("application/pdf", "AAEC")),
        ("data:;base64,AAEC", ("text/plain", "AAEC")),
        ("data:,hi%20there", ("text/plain", "aGkgdGhlcmU=")),
        ("data:text/html,%3Cb%3E", ("text/html", "PGI+")),
        ("data:image/png;base64,", ("image/png", "")),
        ("data:image/png", None),
        ("https://example.test/a.png", None),
        ("", None),
    ],
)
def test_parse_data_url(url, parsed):
    assert parse_data_url(url) == parsed


@pytest.mark.parametrize(
    ("media", "url"),
    [
        (Media("image", "image/webp", data="AAEC"), "data:image/webp;base64,AAEC"),
        (Media("image", data="AAEC"), "data:image/png;base64,AAEC"),
        (Media("document", data="AAEC"), "data:application/pdf;base64,AAEC"),
        (Media("document", text="hä"), "data:text/plain;base64,aMOk"),
        (Media("image", url="https://example.test/a.png"), None),
        (Media("document", file_id="file-1"), None),
    ],
)
def test_data_url(media, url):
    assert data_url(media) == url


@given(st.binary(max_size=30).map(lambda data: data.hex()))
def test_a_data_url_is_read_back(data):
    assert parse_data_url(data_url(Media("audio", "audio/wav", data=data)) or "") == ("audio/wav", data)


@pytest.mark.parametrize(
    ("name", "mime"),
    [
        ("a.pdf", "application/pdf"),
        ("dir.png/A.JPG", "image/jpeg"),
        ("https://example.test/x.webp?size=1#top", "image/webp"),
        ("clip.mp4", "video/mp4"),
        ("README", None),
        ("a.unheard-of", None),
        ("", None),
    ],
)
def test_mime_of(name, mime):
    assert mime_of(name) == mime


@pytest.mark.parametrize(
    ("mime", "format"),
    [
        ("audio/wav", "wav"),
        ("audio/x-wav", "wav"),
        ("audio/mpeg", "mp3"),
        ("audio/mp3", "mp3"),
        ("audio/ogg; codecs=opus", "ogg"),
        ("audio/flac", "flac"),
        ("audio/pcm;rate=24000", "pcm16"),
        (None, "wav"),
    ],
)
def test_audio_format(mime, format):
    assert audio_format(mime) == format


@pytest.mark.parametrize("format", ["wav", "mp3", "flac", "opus", "ogg", "aac", "pcm16", "m4a"])
def test_audio_formats_are_read_back(format):
    assert audio_format(audio_mime(format)) == format
