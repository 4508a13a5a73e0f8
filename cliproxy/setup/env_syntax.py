"""Files of environment variables (`.env`)."""

import io
import re
from typing import Any

from dotenv.parser import Binding, parse_stream

from cliproxy.setup.syntax import Keys, SettingsFault, Value

_PLAIN = re.compile(r"[\w.:/@%+=,~-]*", re.ASCII)
_BEGIN = re.compile(r"\s*(?:export\s+)?")
_END = re.compile(r"\s*\Z")
_COMMENT = re.compile(r"[ \t]+#[^\r\n]*\s*\Z")
_QUOTES = "'\"`"


class EnvSyntax:
    """`NAME=value` lines, as dotenv libraries read them. Keys have one part."""

    def read(self, text: str) -> dict[str, Any]:
        return {found.key: found.value for found in _bindings(text) if found.key is not None}

    def set(self, text: str, keys: Keys, value: Value) -> str:
        (name,) = keys
        line = f"{name}={_quoted(str(value))}"
        bindings = _bindings(text)
        for index in reversed(range(len(bindings))):
            if bindings[index].key == name:  # of several, the last is in force
                bindings[index] = _replaced(bindings[index], line)
                return _joined(bindings)
        newline = "\r\n" if "\r\n" in text else "\n"
        end = "" if not text or text.endswith("\n") else newline
        return f"{text}{end}{line}{newline}"

    def remove(self, text: str, keys: Keys) -> str:
        (name,) = keys
        return _joined([found for found in _bindings(text) if found.key != name])


def _bindings(text: str) -> list[Binding]:
    return list(parse_stream(io.StringIO(text, newline="")))


def _joined(bindings: list[Binding]) -> str:
    return "".join(found.original.string for found in bindings)


def _replaced(binding: Binding, line: str) -> Binding:
    original = binding.original.string
    begin, end, comment = (pattern.search(original) for pattern in (_BEGIN, _END, _COMMENT))
    assert begin and end
    # What looks like a comment may be part of the value.
    if comment and _bindings(original[: comment.start()])[-1].value == binding.value:
        end = comment
    return binding._replace(original=binding.original._replace(string=begin[0] + line + end[0]))


def _quoted(value: str) -> str:
    """Raises SettingsFault for what no kind of quotes can hold."""
    if _PLAIN.fullmatch(value):
        return value
    quote = next((quote for quote in _QUOTES if quote not in value), None)
    if quote is None or "\n" in value or "\\" in value:
        raise SettingsFault("a value with these characters cannot be written here")
    return f"{quote}{value}{quote}"
