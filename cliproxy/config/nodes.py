"""YAML text as nodes that know their place, and the values of scalars. No object is ever made from a tag.

Plain words are typed by YAML 1.2's core schema, much as CLIProxyAPI's parser does: `on` and `no` are text,
`010` is no octal number, and a date is text.
"""

import re

import yaml

STR, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
NULL, BOOL = "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool"
INT, FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
PLAIN_TAGS = frozenset({STR, MERGE, NULL, BOOL, INT, FLOAT, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


# Not the C parser: deep nesting crashes the process in it, and this one reads 1200 lines in 50 ms.
class _Loader(yaml.SafeLoader):
    """Without the types of YAML 1.1."""


_Loader.yaml_implicit_resolvers = {}


for _tag, _pattern, _first in (
    (MERGE, r"<<", "<"),
    (NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (BOOL, r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (INT, r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (FLOAT, r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), list(_first))


def compose(text: str) -> yaml.Node | None:
    """The document's root, or None for an empty one. Raises YAMLError, and RecursionError on deep nesting."""
    return yaml.compose(text, _Loader)


def is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == NULL


def scalar_value(node: yaml.ScalarNode) -> str | int | float | bool | None:
    """What the scalar says by its tag; the text where an explicit tag (`!!int x`) does not fit."""
    try:
        match node.tag:
            case "tag:yaml.org,2002:null":
                return None
            case "tag:yaml.org,2002:bool":
                return {"true": True, "false": False}.get(node.value.lower(), node.value)
            case "tag:yaml.org,2002:int":
                return int(node.value, 0)
            case "tag:yaml.org,2002:float":
                return float(node.value)
            case _:
                return node.value
    except ValueError:
        return node.value
