"""Paths into JSON: what they find, where they write, what they refuse."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.routing.json_path import JsonPath, Key, PathError, is_there, put, remove

BODY: dict[str, Any] = {
    "model": "m",
    "reasoning": {"effort": "low", "summary": None},
    "a.b": {"c*": 1},
    "metadata": {"0": "zero"},
    "tools": [
        {"type": "function", "name": "read", "strict": True, "limits": [1, 2]},
        {"type": "web", "name": "search", "uses": 5},
        {"type": "function", "name": 'it\'s "quoted" (.)', "uses": 1.5, "limits": [3]},
        "plain",
        None,
    ],
    "words": ["alpha", "beta", "gamma"],
    "grid": [[1, 2], [3]],
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("model", ["m"]),
        ("reasoning.effort", ["low"]),
        ("reasoning.summary", [None]),
        ("reasoning.missing", []),
        ("model.effort", []),
        (r"a\.b.c\*", [1]),
        ("metadata.0", ["zero"]),
        ("metadata.:0", ["zero"]),
        ("words.1", ["beta"]),
        ("words.3", []),
        ("words.-1", []),
        ("words.:1", []),
        ("words.00001", []),
        ("words.x", []),
        ("words.#", [3]),
        ("reasoning.#", []),
        ("tools.#.name", [["read", "search", 'it\'s "quoted" (.)']]),
        ("tools.#.nothing", []),
        ("grid.#.0", [[1, 3]]),
        ("grid.#.#", [[2, 1]]),
    ],
)
def test_values_by_name_and_index(path: str, found: list[Any]) -> None:
    assert JsonPath(path).values(BODY) == found


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ('tools.#(type=="function").name', ["read"]),
        ('tools.#(type="function")#.name', ["read", 'it\'s "quoted" (.)']),
        ('tools.#( type == "web" ).name', ["search"]),
        ("tools.#(type=='web').name", ["search"]),
        ("tools.#(type==web).name", ["search"]),
        ('tools.#(name=="it\'s \\"quoted\\" (.)").uses', [1.5]),
        (r"tools.#(name=='it\'s " '"quoted" (.)' "').uses", [1.5]),
        ('tools.#(type!="function").name', ["search"]),
        ("tools.#(uses>1.5)#.name", ["search"]),
        ("tools.#(uses>=1.5)#.uses", [5, 1.5]),
        ("tools.#(uses<5)#.uses", [1.5]),
        ("tools.#(uses<=5)#.uses", [5, 1.5]),
        ("tools.#(uses=5.0).name", ["search"]),
        ("tools.#(uses==five)", []),
        ("tools.#(uses!=five)#.uses", [5, 1.5]),
        ("tools.#(strict==true).name", ["read"]),
        ("tools.#(strict==false)", []),
        ("tools.#(strict=1)", []),
        ("tools.#(uses)#.uses", [5, 1.5]),
        ('tools.#(name%"*ea*")#.name', ["read", "search"]),
        ('tools.#(name!%"*ea*").name', ['it\'s "quoted" (.)']),
        ('words.#(%"?eta")', ["beta"]),
        ('words.#(%"eta")', []),
        ('words.#(>"alpha")#', ["beta", "gamma"]),
        ('words.#(=="none")', []),
        ("words.#()#", ["alpha", "beta", "gamma"]),
        ("words.#()", ["alpha"]),
        ("tools.#(limits.#(==3)).name", ['it\'s "quoted" (.)']),
        ("tools.#(limits.#(>1)#)#.name", ["read", 'it\'s "quoted" (.)']),
        ('tools.#(type=="function"&&uses>1).uses', [1.5]),
        ('tools.#(uses==5 || name=="read")#.name', ["read", "search"]),
        ('tools.#(type=="a||b")', []),
        ('model.#(x=="1")', []),
        ("grid.#(#(==3)).0", [3]),
    ],
)
def test_values_by_query(path: str, found: list[Any]) -> None:
    assert JsonPath(path).values(BODY) == found


@pytest.mark.parametrize(
    "path",
    ["", ".", "a.", ".a", "a..b", "a*", "a.?", "a|b", "a.@reverse", "!x", "{a,b}", "a.[b]", "a.#[x==1]", "a.#x", "a.#(x",
     "a.#(x)y", "a.#(x)##", "a.#( )", "a.#(x&&)", 'a.#(x=="\\q")', "a.#(x==~true)", "a.#(b*==1)", "a\\"],
)  # fmt: skip
def test_what_is_not_understood_is_refused_with_the_path(path: str) -> None:
    with pytest.raises(PathError) as caught:
        JsonPath(path)
    assert repr(path) in str(caught.value) or "b*" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "root"), [("a.b", "a"), (r"a\.b.c", "a.b"), (":1.b", "1"), ("#.a", ""), ("#(a).b", "")]
)
def test_the_root_is_the_outermost_name(path: str, root: str) -> None:
    assert JsonPath(path).root == root


@pytest.mark.parametrize(("path", "writable"), [("a.#", False), ("a.#.b", True), ("a.#(b)#", True), ("a.-1", True)])
def test_a_count_cannot_be_written(path: str, writable: bool) -> None:
    assert JsonPath(path).is_writable is writable


# ---------------------------------------------------------------- writing and removing


def written(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(document)
    for place in JsonPath(path).places(document):
        put(document, place, value)
    return document


def removed(document: dict[str, Any], path: str) -> dict[str, Any]:
    document = copy.deepcopy(document)
    for place in reversed(JsonPath(path).places(document)):
        remove(document, place)
    return document


@pytest.mark.parametrize(
    ("before", "path", "after"),
    [
        ({}, "a", {"a": 7}),
        ({"a": 1}, "a", {"a": 7}),
        ({}, "a.b.c", {"a": {"b": {"c": 7}}}),
        ({"a": {"x": 1}}, "a.b", {"a": {"x": 1, "b": 7}}),
        ({"a": "text"}, "a.b", {"a": {"b": 7}}),
        ({"a": None}, "a.b", {"a": {"b": 7}}),
        ({}, r"a\.b", {"a.b": 7}),
        ({}, "a.0", {"a": [7]}),
        ({}, "a.2", {"a": [None, None, 7]}),
        ({}, "a.:2", {"a": {"2": 7}}),
        ({"a": {"2": 0}}, "a.2", {"a": {"2": 7}}),
        ({"a": [1, 2]}, "a.1", {"a": [1, 7]}),
        ({"a": [1]}, "a.-1", {"a": [1, 7]}),
        ({}, "a.-1", {"a": [7]}),
        ({"a": [1]}, "a.-1.b", {"a": [1, {"b": 7}]}),
        ({"a": [1]}, "a.b", {"a": [1]}),
        ({"a": [1]}, "a.:0", {"a": [1]}),
        ({"a": [1]}, "a.b.c", {"a": [1]}),
        ({"a": [{"x": 1}, {}]}, "a.#.x", {"a": [{"x": 7}, {"x": 7}]}),
        ({"a": [{"x": 1}, {"x": 2}]}, "a.#(x==2).y", {"a": [{"x": 1}, {"x": 2, "y": 7}]}),
        ({"a": [{"x": 1}]}, "a.#(x==2).y", {"a": [{"x": 1}]}),
        ({"a": [1, 2, 1]}, "a.#(==1)#", {"a": [7, 2, 7]}),
        ({}, "a.#(x==2).y", {}),
    ],
)
def test_writing(before: dict[str, Any], path: str, after: dict[str, Any]) -> None:
    assert written(before, path, 7) == after


@pytest.mark.parametrize(
    ("before", "path", "after"),
    [
        ({"a": 1, "b": 2}, "a", {"b": 2}),
        ({"a": {"b": None, "c": 1}}, "a.b", {"a": {"c": 1}}),
        ({"a": 1}, "a.b", {"a": 1}),
        ({"a": 1}, "b.c", {"a": 1}),
        ({"a": [1, 2, 3]}, "a.1", {"a": [1, 3]}),
        ({"a": [1, 2, 3]}, "a.-1", {"a": [1, 2]}),
        ({"a": []}, "a.-1", {"a": []}),
        ({"a": [1]}, "a.1", {"a": [1]}),
        ({"a": [1]}, "a.x", {"a": [1]}),
        ({"a": [{"x": 1, "y": 2}, {"y": 3}]}, "a.#.x", {"a": [{"y": 2}, {"y": 3}]}),
        ({"a": [{"x": 1}, {"x": 2}, {"x": 1}]}, "a.#(x==1)#", {"a": [{"x": 2}]}),
        ({"a": [{"x": 1}, {"x": 2}, {"x": 1}]}, "a.#(x==1)", {"a": [{"x": 2}, {"x": 1}]}),
    ],
)
def test_removing(before: dict[str, Any], path: str, after: dict[str, Any]) -> None:
    assert removed(before, path) == after


def test_writing_and_removing_tell_whether_they_did() -> None:
    name, other = Key("a"), Key("b")
    assert put({}, (name,), 1) and not put({"a": []}, (name, other), 1)
    assert remove({"a": 1}, (name,)) and not remove({"a": 1}, (other,))


def test_null_is_there() -> None:
    assert is_there({"a": None}, (Key("a"),))
    assert not is_there({"a": None}, (Key("a"), Key("b")))


NAMES = st.text(st.sampled_from('ab.*?|#@!:{}[]()\\"' + "é "), min_size=1, max_size=4).filter(lambda name: name != "-1")
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


def escaped(name: str) -> str:
    return "".join(f"\\{character}" for character in name)


@given(st.dictionaries(NAMES, DOCUMENTS, max_size=3), st.lists(NAMES, min_size=1, max_size=3))
def test_what_is_written_is_found_and_what_is_removed_is_not(document: dict[str, Any], names: list[str]) -> None:
    path = JsonPath(".".join(map(escaped, names)))
    before = copy.deepcopy(document)
    (place,) = path.places(document)
    if not put(document, place, "new"):
        assert document == before
        return
    assert path.values(document) == ["new"] and path.root == names[0]
    assert {k: v for k, v in document.items() if k != names[0]} == {k: v for k, v in before.items() if k != names[0]}
    assert remove(document, place)
    assert path.values(document) == [] and not is_there(document, place)


@given(st.text(st.sampled_from("ab0.#()=!%<>&|~\"'\\*-1: ")), DOCUMENTS)
def test_any_text_is_a_path_or_refused_and_any_path_fits_any_document(text: str, document: Any) -> None:
    try:
        path = JsonPath(text)
    except PathError:
        return
    path.values(document)
    for place in reversed(path.places(document) if path.is_writable and isinstance(document, dict) else []):
        put(document, place, 1)
        remove(document, place)
