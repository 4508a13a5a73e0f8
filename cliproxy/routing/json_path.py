"""Paths into JSON, in the part of gjson's and sjson's syntax that people write into configs.

    reasoning.effort            members, one below the other; `\\.` is a dot within a name
    messages.0.role             an element; `-1` writes behind the last one, and removes the last one
    metadata.:0                 a member whose name is a number
    tools.#                     how many elements; can only be read
    tools.#.name                the names of all elements
    tools.#(type=="web").name   that of the first element that fits, `#(…)#` of all; within: `==` `!=` `<` `<=` `>`
                                `>=`, `%` and `!%` (like, not like: `*` and `?`), a path alone (is there), `&&`, `||`

Paths that lead through several elements write to, and remove from, each of them. Wildcards in names, `|`, modifiers
(`@…`) and multipaths are not understood: `JsonPath` refuses them. Sources: SYNTAX.md of github.com/tidwall/gjson and
README.md of github.com/tidwall/sjson; `&&` and `||` are CLIProxyAPI's.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any

MAX_INDEX_DIGITS = 4
"""Longer numbers are names: an index that far behind the end would fill the memory with nulls."""


class PathError(ValueError):
    """Not a path that is understood; the message says why and quotes the path."""


@dataclass(frozen=True, slots=True)
class Key:
    """One step down to a known place: a member by its name, or an element by its index."""

    name: str
    index: int | None = None
    """Where the container is an array. -1: behind the last element, or the last one where it is removed."""


Place = tuple[Key, ...]
"""Where one value is, or would be."""


class _Each(Enum):
    """`#`: every element."""

    EACH = "#"


@dataclass(frozen=True, slots=True)
class _Term:
    """One comparison of a query."""

    path: "JsonPath | None"
    """Below the element; None: the element itself."""
    compare: Callable[[Any], bool] | None
    """None: it is enough that the path leads somewhere."""

    def holds(self, element: Any) -> bool:
        found = self.path.values(element) if self.path else [element]
        return any(map(self.compare, found)) if self.compare else bool(found)


@dataclass(frozen=True, slots=True)
class _Query:
    """`#(…)`: the elements that fit."""

    alternatives: tuple[tuple[_Term, ...], ...]
    """One of these must hold, with all its terms."""
    every: bool
    """Not only the first one that fits."""

    def fitting(self, container: Any) -> Iterator[int]:
        if not isinstance(container, list):
            return
        for index, element in enumerate(container):
            if any(all(term.holds(element) for term in terms) for terms in self.alternatives):
                yield index
                if not self.every:
                    return


_Step = Key | _Each | _Query
_MISSING = object()


class JsonPath:
    """A path, parsed."""

    def __init__(self, text: str) -> None:
        """Raises PathError."""
        self.text = text
        self._steps = tuple(_parse(text))

    @property
    def root(self) -> str:
        """The member of the outermost object that the path leads through; empty where it begins with `#`."""
        first = self._steps[0]
        return first.name if isinstance(first, Key) else ""

    @property
    def is_writable(self) -> bool:
        """Whether the path leads to places, not to a count."""
        return self._steps[-1] is not _Each.EACH

    def values(self, document: Any) -> list[Any]:
        """What is found: several values for queries for all, one list of them for `#` in the middle."""
        return _values(document, self._steps)

    def places(self, document: Any) -> list[Place]:
        """All places that the path leads to; where no `#` chooses among elements, also one that is not there yet."""
        return list(_places(document, self._steps))


def _values(value: Any, steps: Sequence[_Step]) -> list[Any]:
    if not steps:
        return [value]
    step, rest = steps[0], steps[1:]
    if isinstance(step, Key):
        child = _child(value, step)
        return [] if child is _MISSING else _values(child, rest)
    if isinstance(step, _Query):
        return [found for index in step.fitting(value) for found in _values(value[index], rest)]
    if not isinstance(value, list):
        return []
    if not rest:
        return [len(value)]
    gathered = [found for element in value for found in _values(element, rest)]
    return [gathered] if gathered else []


def _places(value: Any, steps: Sequence[_Step]) -> Iterator[Place]:
    if not steps:
        yield ()
        return
    step, rest = steps[0], steps[1:]
    if isinstance(step, Key):
        for place in _places(_child(value, step), rest):
            yield (step, *place)
        return
    indexes = step.fitting(value) if isinstance(step, _Query) else range(len(value) if isinstance(value, list) else 0)
    for index in indexes:
        for place in _places(value[index], rest):
            yield (Key(str(index), index), *place)


# ---------------------------------------------------------------- one place


def is_there(document: Any, place: Place) -> bool:
    """Whether a place holds a value; null is one."""
    for key in place:
        document = _child(document, key)
    return document is not _MISSING


def put(document: Any, place: Place, value: Any) -> bool:
    """Write a value. What is missing on the way is made, and what is neither object nor array replaced.

    Returns False, with nothing changed, where the place cannot be: an array has no names.
    """
    for key, following in pairwise(place):
        child = _child(document, key)
        if not isinstance(child, dict | list):
            child = {} if following.index is None else []
            if not _assign(document, key, child):
                return False
        document = child
    return _assign(document, place[-1], value)


def remove(document: Any, place: Place) -> bool:
    """Take a value out; False where there is none."""
    *way, last = place
    for key in way:
        document = _child(document, key)
    if isinstance(document, dict):
        return document.pop(last.name, _MISSING) is not _MISSING
    # -1 is the last element for Python too.
    if isinstance(document, list) and last.index is not None and last.index < len(document) > 0:
        del document[last.index]
        return True
    return False


def _child(container: Any, key: Key) -> Any:
    if isinstance(container, dict):
        return container.get(key.name, _MISSING)
    if isinstance(container, list) and key.index is not None and 0 <= key.index < len(container):
        return container[key.index]
    return _MISSING


def _assign(container: dict[str, Any] | list[Any], key: Key, value: Any) -> bool:
    if isinstance(container, dict):
        container[key.name] = value
    elif key.index is None:
        return False
    elif 0 <= key.index < len(container):
        container[key.index] = value
    else:
        container.extend([None] * (key.index - len(container)))
        container.append(value)
    return True


# ---------------------------------------------------------------- parsing

_NAME = re.compile(r"(?:\\.|[^\\.])+", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_INDEX = re.compile(rf"-1|[0-9]{{1,{MAX_INDEX_DIGITS}}}")
_WORD = re.compile(
    r""" "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | \\. | && | \|\| | [!=<>]= | !% | . """, re.VERBOSE | re.DOTALL
)
_OPERATORS = frozenset({"==", "=", "!=", "<", "<=", ">", ">=", "%", "!%"})


def _parse(text: str) -> Iterator[_Step]:
    position = 0
    while True:
        if text.startswith("#(", position):
            step, position = _parse_query(text, position)
        elif match := _NAME.match(text, position):
            step, position = _parse_name(match[0], text), match.end()
        else:
            raise PathError(f"{text!r} has an empty part")
        yield step
        if position == len(text):
            return
        if text[position] != ".":
            raise PathError(f"{text!r} is not understood at {text[position:]!r}")
        position += 1


def _parse_name(written: str, text: str) -> Key | _Each:
    if written == "#":
        return _Each.EACH
    if written[0] in "#@!{[" or re.search(r"[*?|]", _ESCAPED.sub("", written)):
        raise PathError(f"{text!r} is not understood at {written!r} (a \\ makes a character part of a name)")
    name = _ESCAPED.sub(r"\1", written)
    if written[0] == ":":
        return Key(name[1:])
    return Key(name, int(name) if _INDEX.fullmatch(written) else None)


def _parse_query(text: str, start: int) -> tuple[_Query, int]:
    """Parse `#(…)` or `#(…)#` at `start`; also tells where it ends."""
    alternatives: list[list[list[str]]] = [[[]]]
    depth = 1
    for match in _WORD.finditer(text, start + 2):
        word = match[0]
        depth += (word == "(") - (word == ")")
        if depth == 0:
            break
        if depth == 1 and word == "||":
            alternatives.append([[]])
        elif depth == 1 and word == "&&":
            alternatives[-1].append([])
        else:
            alternatives[-1][-1].append(word)
    else:
        raise PathError(f"{text!r} has a query without its end")
    end = match.end()
    every = text.startswith("#", end)
    if alternatives == [[[]]]:
        terms: tuple[tuple[_Term, ...], ...] = ((),)
    else:
        terms = tuple(tuple(_parse_term(words, text) for words in words_of) for words_of in alternatives)
    return _Query(terms, every), end + int(every)


def _parse_term(words: list[str], text: str) -> _Term:
    depth = 0
    for number, word in enumerate(words):
        depth += (word == "(") - (word == ")")
        if depth == 0 and word in _OPERATORS:
            left = "".join(words[:number]).strip()
            operand = _operand("".join(words[number + 1 :]).strip(), text)
            return _Term(JsonPath(left) if left else None, _comparison(word, operand))
    path = "".join(words).strip()
    if not path:
        raise PathError(f"{text!r} has a query with an empty part")
    return _Term(JsonPath(path), None)


def _operand(written: str, text: str) -> str:
    if len(written) > 1 and written[0] == written[-1] == '"':
        try:
            return json.loads(written)
        except ValueError:
            raise PathError(f"{text!r} is not understood at {written!r}") from None
    if len(written) > 1 and written[0] == written[-1] == "'":
        return _ESCAPED.sub(r"\1", written[1:-1])
    if written.startswith("~"):
        raise PathError(f"{text!r} is not understood at {written!r}")
    return written


# ---------------------------------------------------------------- comparing


def _comparison(operator: str, operand: str) -> Callable[[Any], bool]:
    """How a query compares. As in gjson the value says how: as text, as a number; null and containers never fit."""
    try:
        number: float | None = float(operand)
    except ValueError:
        number = None
    if operator in ("%", "!%"):
        like = re.compile(re.escape(operand).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
        wanted = operator == "%"
        return lambda value: isinstance(value, str) and (like.fullmatch(value) is not None) == wanted

    def compare(value: Any) -> bool:
        if isinstance(value, bool):
            return _ordered(operator, "true" if value else "false", operand)
        if isinstance(value, str):
            return _ordered(operator, value, operand)
        if isinstance(value, int | float):
            return operator == "!=" if number is None else _ordered(operator, value, number)
        return False

    return compare


def _ordered(operator: str, left: Any, right: Any) -> bool:
    match operator:
        case "=" | "==":
            return left == right
        case "!=":
            return left != right
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case _:
            return left >= right
