"""A file becomes a `Config` here, or a list of all that is wrong with it by file, line, column and key."""

import ipaddress
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from . import nodes, wording
from .compat import Document
from .reading import Reader
from .schema import Config


class ConfigFault(ValueError):
    """The configuration cannot be used. `problems` has a line for each thing to mend, in the file's order."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Loaded(NamedTuple):
    """A valid configuration, and a line for each thing to know of it: ignored keys, entries left out."""

    config: Config
    warnings: list[str]


def load_config(path: Path) -> Loaded:
    """Reads and checks a file. Raises ConfigFault where it cannot be read or holds no valid configuration."""
    return parse_config(read_config(path), str(path))


def read_config(path: Path) -> str:
    """The text of a file. Raises ConfigFault."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigFault([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigFault([f"{path}:{line}:1: not UTF-8 text"]) from None


def parse_config(text: str, name: str = "config.yaml") -> Loaded:
    """Checks the text of a file; `name` stands for the file in messages. Raises ConfigFault."""
    reader = Reader(name)
    try:
        document = _checked(_values(text, name, reader), reader)
    except RecursionError:  # by deep nesting, or by an alias within its own anchor
        raise ConfigFault([f"{name}: nested too deeply"]) from None
    if document is None or reader.problems:
        raise ConfigFault(reader.problems.lines())
    for index, remark in document.left_out():
        place = reader.places["upstreams", index]
        reader.warnings.add(place.node.start_mark, f"{place.path}: {remark}")
    config = document.canonical()
    return Loaded(config, [*reader.warnings.lines(), *_advice(name, reader, config)])


def _values(text: str, name: str, reader: Reader) -> dict[str, Any]:
    try:
        root = nodes.compose(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigFault([f"{place}: {wording.syntax(error)}"]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        raise ConfigFault([f"{name}:{line}:{column}: not valid YAML: a control character"]) from None
    if root is None or nodes.is_null(root):
        return {}
    if not isinstance(root, yaml.MappingNode):
        mark, found = root.start_mark, wording.found(root, hidden=True)
        raise ConfigFault([f"{name}:{mark.line + 1}:{mark.column + 1}: expected keys with values, found {found}"])
    return reader.document(root, Document)


def _checked(values: dict[str, Any], reader: Reader) -> Document | None:
    """The values as the schema has them, or None after noting what is wrong with them."""
    try:
        return Document.model_validate(values)
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False, include_input=False):
            _note(error, reader)
        return None


def _note(error: ErrorDetails, reader: Reader) -> None:
    loc = error["loc"]
    place = next(reader.places[loc[:end]] for end in range(len(loc), -1, -1) if loc[:end] in reader.places)
    path, node = place.path, place.node
    if error["type"] == "missing":
        path = f"{path}.{loc[-1]}"
    if loc[-1:] == ("[key]",) or (error["type"] == "value_error" and isinstance(node, yaml.MappingNode)):
        node = None  # about a key or about several values: there is no single one to show
    reader.problems.add(place.node.start_mark, f"{path}: {wording.sentence(error, node, hidden=place.hidden)}")


def _advice(name: str, reader: Reader, config: Config) -> list[str]:
    advice = []
    for reason, lines in reader.ignored.items():
        keys = ", ".join(f"{path} (line {line})" for path, line in lines.items())
        advice.append(f"{name}: accepted and ignored, as {reason}: {keys}; see docs/configuration.md")
    if not config.api_keys and not _is_loopback(config.host):
        advice.append(f"{name}: host: other machines can reach this gateway, and without api-keys it serves them all")
    return advice


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
