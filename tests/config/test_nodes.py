"""Plain words have the types of YAML 1.2."""

import pytest
import yaml

from cliproxy.config.nodes import compose, is_null, scalar_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("text", "text"), ("", None), ("~", None), ("null", None), ("Null", None), ("nulls", "nulls"), ("''", ""),
        ("true", True), ("False", False), ("yes", "yes"), ("on", "on"), ("'true'", "true"),
        ("0", 0), ("-12", -12), ("+3", 3), ("0x1F", 31), ("0o17", 15), ("017", "017"), ("1_000", "1_000"), ("12:30", "12:30"),
        ("1.5", 1.5), (".5", 0.5), ("2.", 2.0), ("1e3", 1000.0), ("-1.5E-2", -0.015), ("1.2.3", "1.2.3"), (".inf", ".inf"),
        ("2026-12-31", "2026-12-31"), ("!!str 5", "5"), ("!!int x", "x"), ("9" * 5000, "9" * 5000),
    ],
)  # fmt: skip
def test_a_scalar_has_the_type_of_its_words(text: str, value: object) -> None:
    root = compose(f"key: {text}")
    assert isinstance(root, yaml.MappingNode)
    node = root.value[0][1]
    assert scalar_value(node) == value
    assert type(scalar_value(node)) is type(value)
    assert is_null(node) == (value is None)


def test_an_empty_text_has_no_root() -> None:
    assert compose("# nothing\n") is None


def test_nodes_know_their_place() -> None:
    root = compose("a:\n  - b\n")
    assert isinstance(root, yaml.MappingNode)
    mark = root.value[0][1].value[0].start_mark
    assert (mark.line, mark.column) == (1, 4)
