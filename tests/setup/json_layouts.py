"""JSON settings files as people lay them out, for property tests."""

import json
from typing import Any

from hypothesis import strategies as st

from cliproxy.setup.syntax import Value

KEYS = st.sampled_from(["env", "model", "a.b", "é", 'quo"ted', ""])
PATHS = st.lists(KEYS, min_size=1, max_size=3).map(tuple)
SCALARS: st.SearchStrategy[Value] = st.one_of(st.text(max_size=8), st.integers(0, 9), st.just("http://127.0.0.1:8317"))
VALUES: st.SearchStrategy[Value] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2), max_leaves=4
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
GAPS = st.sampled_from(["", "", "", " ", "\n", "\n  ", "\r\n\t", " /* c, } */ ", " // c, { \n", "\n// c  \n  ", "/**/"])


@st.composite
def layouts(draw: st.DrawFn) -> str:
    """A JSON object, laid out and commented in any way."""

    def written(value: Any) -> str:
        match value:
            case dict():
                return _listed("{", [f"{json.dumps(key)}{gap()}:{gap()}{written(part)}" for key, part in value.items()])
            case list():
                return _listed("[", [written(part) for part in value])
            case _:
                return json.dumps(value, ensure_ascii=draw(st.booleans()))

    def _listed(opening: str, parts: list[str]) -> str:
        closing = "}" if opening == "{" else "]"
        inner = ",".join(f"{gap()}{part}{gap()}" for part in parts)
        trailing = "," if parts and draw(st.booleans()) else ""
        return f"{opening}{inner}{trailing}{gap()}{closing}"

    def gap() -> str:
        return draw(GAPS)

    mark = draw(st.sampled_from(["", "\ufeff"]))
    return f"{mark}{gap()}{written(draw(st.dictionaries(KEYS, DOCUMENTS, max_size=4)))}{gap()}"
