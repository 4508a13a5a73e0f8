"""What the formats call the same picture, document or sound: data URLs, media types, file extensions."""

import base64
import struct
from urllib.parse import unquote_to_bytes

from cliproxy.wire.model import Media

_MIME_BY_EXTENSION = {
    "avi": "video/x-msvideo",
    "bmp": "image/bmp",
    "css": "text/css",
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "flac": "audio/flac",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "htm": "text/html",
    "html": "text/html",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript",
    "json": "application/json",
    "m4a": "audio/mp4",
    "md": "text/markdown",
    "mov": "video/quicktime",
    "mp3": "audio/mp3",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
    "ogg": "audio/ogg",
    "opus": "audio/opus",
    "pdf": "application/pdf",
    "png": "image/png",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "py": "text/x-python",
    "rtf": "application/rtf",
    "svg": "image/svg+xml",
    "txt": "text/plain",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webp": "image/webp",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xml": "text/xml",
}

_MIME_BY_KIND = {
    "image": "image/png",
    "document": "application/pdf",
    "audio": "audio/wav",
    "video": "video/mp4",
}

_AUDIO_FORMATS = {
    "l16": "pcm16",
    "mp4": "m4a",
    "mpeg": "mp3",
    "mpga": "mp3",
    "pcm": "pcm16",
    "vnd.wave": "wav",
    "wave": "wav",
}
_AUDIO_SUBTYPES = {"m4a": "mp4", "pcm16": "pcm"}


def parse_data_url(url: str) -> tuple[str, str] | None:
    """The media type and the base64 text of a `data:` URL, or None for any other URL."""
    if url[:5].lower() != "data:":
        return None
    head, comma, data = url[5:].partition(",")
    if not comma:
        return None
    mime, *parameters = (field.strip() for field in head.split(";"))
    if "base64" not in (parameter.lower() for parameter in parameters):
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return mime.lower() or "text/plain", data


def data_url(media: Media) -> str | None:
    """The `data:` URL of media that travel in the request, or None for those behind a URL or a file id."""
    if media.data is not None:
        return f"data:{media.mime or _MIME_BY_KIND[media.kind]};base64,{media.data}"
    if media.text is not None:
        return f"data:{media.mime or 'text/plain'};base64,{base64.b64encode(media.text.encode()).decode()}"
    return None


def mime_of(name: str) -> str | None:
    """The media type that a file name or the path of a URL ends in, or None."""
    path = name.partition("?")[0].partition("#")[0]
    return _MIME_BY_EXTENSION.get(path.rpartition(".")[2].lower())


def audio_format(mime: str | None) -> str:
    """OpenAI's word (`wav`, `mp3` …) for an audio media type."""
    subtype = (mime or "audio/wav").partition("/")[2].partition(";")[0].strip().lower().removeprefix("x-")
    return _AUDIO_FORMATS.get(subtype, subtype)


def audio_mime(format: str) -> str:
    """The media type for OpenAI's word for an audio format."""
    word = format.lower()
    return f"audio/{_AUDIO_SUBTYPES.get(word, word)}"


_HEADER_CHARS = 120_000
"""As far into a JPEG as its size may stand, after thumbnails and colour profiles."""


def image_size(data: str) -> tuple[int, int] | None:
    """Width and height in pixels of a PNG, JPEG, GIF or WebP image in base64; None where they cannot be read."""
    try:
        head = base64.b64decode(data[:_HEADER_CHARS])
    except ValueError:
        return None
    if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) >= 24:
        size = struct.unpack(">II", head[16:24])
    elif head[:6] in (b"GIF87a", b"GIF89a") and len(head) >= 10:
        size = struct.unpack("<HH", head[6:10])
    elif head[:2] == b"\xff\xd8":
        size = _jpeg_size(head)
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP" and len(head) >= 30:
        size = _webp_size(head)
    else:
        return None
    return (size[0], size[1]) if size is not None and size[0] and size[1] else None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        # Start-of-frame markers; C4, C8 and CC among them mean something else.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        at += 2 + struct.unpack(">H", head[at + 2 : at + 4])[0]
    return None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    match head[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = struct.unpack("<HH", head[26:30])
            return width & 0x3FFF, height & 0x3FFF
        case _:
            return None
