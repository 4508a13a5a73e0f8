"""What the formats call the same picture, document or sound: data URLs, media types, file extensions."""

import base64
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

_MIME_BY_KIND = {"image": "image/png", "document": "application/pdf", "audio": "audio/wav", "video": "video/mp4"}

_AUDIO_FORMATS = {"mpeg": "mp3", "mpga": "mp3", "mp4": "m4a", "wave": "wav", "vnd.wave": "wav", "l16": "pcm16", "pcm": "pcm16"}
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
