"""How a fault in the file is put into words without giving a secret away."""

import re
from typing import Any

import yaml
from pydantic_core import ErrorDetails

from .nodes import is_null, scalar_value

_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a number",
    "float_type": "a number",
    "greater_than_equal": "{ge} or more",
    "int_type": "a whole number",
    "less_than_equal": "{le} or less",
    "literal_error": "{expected}",
    "model_type": "a mapping",
    "pattern_regex": "a regular expression",
    "pattern_type": "a regular expression",
    "string_too_short": "text that is not empty",
    "string_type": "text",
    "string_unicode": "text",
    "too_short": "at least one item",
    "tuple_type": "a list",
    "value_error": "{error}",
}

# Keys get pasted into wrong places, so a value is not repeated merely because its key is harmless.
_LIKE_A_SECRET = re.compile(r"\b(?:sk-|AIza|gh[op]_|gsk_|xai-\w{8}|eyJ)|(?=[-\w]*\d)[-\w]{16,}|@")


def shown(text: str) -> str:
    """Text from the file, quoted and cut to 60 characters, or a hint where it may be a secret."""
    if _LIKE_A_SECRET.search(text):
        return "text that is not repeated here, as it may be a secret"
    return repr(text if len(text) <= 60 else text[:60] + "…")


def step(key: str) -> str:
    """A key that is not the schema's, as a step of a dotted path."""
    return "…" if _LIKE_A_SECRET.search(key) else key


def found(node: yaml.Node, *, hidden: bool) -> str:
    """What stands there; of a hidden scalar only the kind."""
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if is_null(node):
        return "nothing"
    value = scalar_value(node) if isinstance(node, yaml.ScalarNode) else None
    if isinstance(value, str):
        return "text" if hidden else shown(value)
    if hidden:
        return "true or false" if isinstance(value, bool) else "a number"
    return node.value


def sentence(error: ErrorDetails, node: yaml.Node | None, *, hidden: bool) -> str:
    """What is wrong, from pydantic's account of it and the node that it is about, if it is a single one."""
    if error["type"] == "missing":
        return "this key is required"
    if error["type"] == "refused":
        return error["msg"]
    context: dict[str, Any] = error.get("ctx", {})
    template = _EXPECTED.get(error["type"], "another value")
    expected = template.format_map(context).replace("True", "true").replace("False", "false")
    return f"expected {expected}" + (f", found {found(node, hidden=hidden)}" if node else "")


def syntax(error: yaml.MarkedYAMLError) -> str:
    """PyYAML's account of a syntax error, without the names that it quotes from the text."""
    problem, context, start = error.problem or "cannot be read", error.context, error.context_mark
    began = f" ({context}, which began on line {start.line + 1})" if context and start else ""
    return "not valid YAML: " + re.sub(r"'([^']*)'", _parsers_own, problem + began)


def _parsers_own(quoted: re.Match[str]) -> str:
    """A character, an escape or the name of a token is the parser's; anything longer is the user's."""
    return quoted[0] if len(quoted[1]) < 2 or quoted[1][0] in "<\\" else "'…'"
