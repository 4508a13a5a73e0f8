"""cliproxy.wire.fields: what a client did wrong, and where."""

import pytest

from cliproxy.wire.errors import ClientFault
from cliproxy.wire.fields import Fields, integer_of, object_of, objects, objects_of, text_of, wrong_type

BODY = Fields(
    {
        "a": [{"b": {"c": 5}}, {"b": {}}],
        "text": "t",
        "empty": "",
        "yes": True,
        "whole": 5.0,
        "half": 0.5,
        "null": None,
        "words": ["x", 1],
        "map": {"a": "b", "c": None},
        "none": {},
    }
)


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda: BODY.string("text"), "t"),
        (lambda: BODY.string("null"), None),
        (lambda: BODY.string("absent"), None),
        (lambda: BODY.required("text"), "t"),
        (lambda: BODY.boolean("yes"), True),
        (lambda: BODY.integer("whole"), 5),
        (lambda: BODY.number("half"), 0.5),
        (lambda: BODY.items("null"), []),
        (lambda: BODY.child("null"), None),
        (lambda: BODY.json("map"), {"a": "b", "c": None}),
        (lambda: BODY.string_map("map"), {"a": "b", "c": ""}),
        (lambda: BODY.string_map("none"), None),
        (lambda: BODY.string_map("absent"), None),
        (lambda: BODY.text_or_items("text"), "t"),
        (lambda: BODY.text_or_items("words"), ["x", 1]),
        (lambda: BODY.text_or_items("absent"), []),
        (lambda: BODY.rest(frozenset(BODY.object) - {"text", "null"}), {"text": "t"}),
    ],
)
def test_values(read, value):
    assert read() == value


@pytest.mark.parametrize(
    ("read", "param", "message"),
    [
        (lambda: BODY.string("yes"), "yes", "yes must be a string, not a boolean"),
        (lambda: BODY.integer("yes"), "yes", "yes must be an integer, not a boolean"),
        (lambda: BODY.integer("half"), "half", "half must be an integer, not a number"),
        (lambda: BODY.number("text"), "text", "text must be a number, not a string"),
        (lambda: BODY.boolean("text"), "text", "text must be a boolean, not a string"),
        (lambda: BODY.child("text"), "text", "text must be an object, not a string"),
        (lambda: BODY.items("text"), "text", "text must be a list, not a string"),
        (lambda: BODY.strings("words"), "words[1]", "words[1] must be a string, not an integer"),
        (lambda: BODY.required("empty"), "empty", "empty is required"),
        (lambda: BODY.required("yes"), "yes", "yes must be a string, not a boolean"),
        (lambda: BODY.json("text"), "text", "text must be an object, not a string"),
        (lambda: BODY.string_map("text"), "text", "text must be an object, not a string"),
        (lambda: BODY.text_or_items("yes"), "yes", "yes must be a string or a list, not a boolean"),
        (lambda: BODY.required_child("absent"), "absent", "absent is required"),
        (lambda: BODY.children("words"), "words[0]", "words[0] must be an object, not a string"),
        (
            lambda: BODY.children("a")[0].required_child("b").string("c"),
            "a[0].b.c",
            "a[0].b.c must be a string, not an integer",
        ),
        (lambda: BODY.children("a")[1].required_child("b").required("c"), "a[1].b.c", "a[1].b.c is required"),
        (lambda: Fields([]), "the body", "the body must be an object, not a list"),
    ],
)
def test_faults_name_the_place(read, param, message):
    with pytest.raises(ClientFault) as raised:
        read()
    assert (raised.value.param, raised.value.message, raised.value.status) == (param, message, 400)


def test_words_that_are_not_known():
    fault = BODY.children("a")[0].invalid("b", ("x", "y", "z"))
    assert fault.message == "a[0].b must be x, y or z, not an object"
    assert BODY.invalid("text", ("x", "y")).message == "text must be x or y, not 't'"
    assert (fault.param, fault.code) == ("a[0].b", "invalid_value")
    assert len(Fields({"a": "x" * 999}).invalid("a", ("b", "c")).message) < 80


@pytest.mark.parametrize(
    ("value", "number"),
    [(5, 5), (5.0, 5), ("5", 5), (5.5, None), ("5.5", None), (True, None), ("x", None), (None, None), ([5], None)],
)
def test_numbers_of_an_upstream(value, number):
    assert integer_of({"a": value}, "a") == number


def test_what_an_upstream_got_wrong_counts_as_absent():
    holder = {"text": "t", "object": {"a": 1}, "list": [{"a": 1}, 5, None]}
    assert (text_of(holder, "text"), text_of(holder, "object"), text_of(holder, "absent")) == ("t", "", "")
    assert (object_of(holder, "object"), object_of(holder, "text")) == ({"a": 1}, {})
    assert (objects_of(holder, "list"), objects_of(holder, "text"), objects(holder["list"])) == (
        [{"a": 1}],
        [],
        [{"a": 1}],
    )


def test_null_is_called_null():
    assert wrong_type("x", "a string or a list", None).message == "x must be a string or a list, not null"
