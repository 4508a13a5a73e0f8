"""Payload rules (`payload:`): what a config changes in the JSON that goes upstream, after translation.

They run in this order: default, default-raw, override, override-raw, filter; within each as they stand in the file.
Of several defaults for one place the first wins, of several overrides the last. Conditions look at the body as the
rules before have left it.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import msgspec

from cliproxy.config.schema import Payload, PayloadFilter, PayloadRule, PayloadSelector
from cliproxy.routing.json_path import JsonPath, PathError, is_there, put, remove
from cliproxy.wildcard import matches
from cliproxy.wire import json
from cliproxy.wire.model import Format

logger = logging.getLogger(__name__)


class PayloadRules:
    """The rules of one configuration. Rules with a path that is not understood are left out, with a warning."""

    def __init__(self, payload: Payload) -> None:
        self._rules = (
            *_rules("default", _Action.DEFAULT, payload.default, raw=False),
            *_rules("default-raw", _Action.DEFAULT, payload.default_raw, raw=True),
            *_rules("override", _Action.OVERRIDE, payload.override, raw=False),
            *_rules("override-raw", _Action.OVERRIDE, payload.override_raw, raw=True),
            *_rules("filter", _Action.FILTER, payload.filter, raw=False),
        )

    def __bool__(self) -> bool:
        """Whether there is any rule."""
        return bool(self._rules)

    def apply(
        self,
        body: bytes,
        *,
        model: str,
        upstream: Format,
        client: Format,
        headers: Mapping[str, str],
        original: bytes | None = None,
        provider: str = "",
        client_model: str = "",
    ) -> bytes:
        """The body after all rules; the very same object where none is for it.

        body: a JSON object in the format of `upstream`. model: the upstream's name for it; client_model: the client's,
        which rules may go by too. headers: the client's. original: the body before thinking was written into it, where
        that differs: defaults go by what is missing there. provider: for rules whose protocol is a provider's name.
        Members that no rule writes to keep their bytes.
        """
        call = _Call((model, client_model), upstream, provider, client, headers)
        due = [(rule, chosen) for rule in self._rules if (chosen := [s for s in rule.selectors if s.is_for(call)])]
        if not due:
            return body
        target = _Body(body)
        source = target if original is None else _Body(original)
        for rule, selectors in due:
            if any(selector.fits(target) for selector in selectors):
                rule.change(target, source)
        return target.encode() if target.is_changed else body


@dataclass(frozen=True, slots=True)
class _Call:
    """What rules are chosen by, beside the body."""

    models: tuple[str, str]
    upstream: Format
    provider: str
    client: Format
    headers: Mapping[str, str]


class _Body:
    """A JSON object of which only those members are decoded that a rule looks at."""

    def __init__(self, body: bytes) -> None:
        try:
            self._raw = _members(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._raw = _members(json.dumps(json.loads_object(body, "the body")))
        self._decoded: dict[str, Any] = {}
        # Not a set: new members must come in the same order each time, or prompt caches are lost.
        self._written: dict[str, None] = {}

    @property
    def is_changed(self) -> bool:
        return bool(self._written)

    def _at(self, path: JsonPath) -> dict[str, Any]:
        """The object, with the one member that matters to `path`."""
        if path.root not in self._decoded and path.root not in self._written and path.root in self._raw:
            self._decoded[path.root] = json.loads(bytes(self._raw[path.root]))
        return self._decoded

    def values(self, path: JsonPath) -> list[Any]:
        return path.values(self._at(path))

    def write(self, path: JsonPath, value: bytes) -> None:
        document = self._at(path)
        for place in path.places(document):
            if put(document, place, json.loads(value)):
                self._written[path.root] = None

    def write_default(self, path: JsonPath, value: bytes, source: "_Body") -> None:
        """Write where `source` has nothing; there too, so that a later default leaves it alone."""
        for place in path.places(self._at(path)):
            if is_there(source._at(path), place):
                continue
            for body in (self,) if source is self else (self, source):
                if put(body._at(path), place, json.loads(value)):
                    body._written[path.root] = None

    def remove(self, path: JsonPath) -> None:
        document = self._at(path)
        # From the last one, so that the indexes of the others still hold.
        for place in reversed(path.places(document)):
            if remove(document, place):
                self._written[path.root] = None

    def encode(self) -> bytes:
        members = dict(self._raw)
        for name in self._written:
            if name in self._decoded:
                members[name] = msgspec.Raw(json.dumps(self._decoded[name]))
            else:
                members.pop(name, None)
        return msgspec.json.encode(members)


_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Action(Enum):
    DEFAULT = auto()
    OVERRIDE = auto()
    FILTER = auto()


@dataclass(frozen=True, slots=True)
class _Selector:
    """A selector with its paths parsed."""

    selector: PayloadSelector
    match: tuple[tuple[JsonPath, Any], ...]
    not_match: tuple[tuple[JsonPath, Any], ...]
    exist: tuple[JsonPath, ...]
    not_exist: tuple[JsonPath, ...]

    @classmethod
    def of(cls, selector: PayloadSelector) -> "_Selector":
        """Raises PathError."""
        return cls(
            selector,
            _conditions(selector.match),
            _conditions(selector.not_match),
            tuple(map(JsonPath, selector.exist)),
            tuple(map(JsonPath, selector.not_exist)),
        )

    def is_for(self, call: _Call) -> bool:
        """Whether all holds that does not depend on the body."""
        selector = self.selector
        return (
            any(model and matches(selector.name, model) for model in call.models)
            and selector.protocol in (None, call.upstream, call.provider)
            and selector.from_protocol in (None, call.client)
            and all(_has_header(call.headers, name, value) for name, value in selector.headers.items())
        )

    def fits(self, body: _Body) -> bool:
        """Whether all conditions on the body hold."""
        return (
            all(_is_one_of(value, body.values(path)) for path, value in self.match)
            and not any(_is_one_of(value, body.values(path)) for path, value in self.not_match)
            and all(_has_value(body.values(path)) for path in self.exist)
            and not any(_has_value(body.values(path)) for path in self.not_exist)
        )


@dataclass(frozen=True, slots=True)
class _Rule:
    action: _Action
    selectors: tuple[_Selector, ...]
    params: tuple[tuple[JsonPath, bytes], ...]
    """Path to the JSON to write there."""

    def change(self, target: _Body, source: _Body) -> None:
        for path, value in self.params:
            match self.action:
                case _Action.DEFAULT:
                    target.write_default(path, value, source)
                case _Action.OVERRIDE:
                    target.write(path, value)
                case _Action.FILTER:
                    target.remove(path)


def _rules(
    section: str, action: _Action, rules: Iterable[PayloadRule | PayloadFilter], *, raw: bool
) -> Iterable[_Rule]:
    for number, rule in enumerate(rules, 1):
        params = rule.params if isinstance(rule.params, dict) else dict.fromkeys(rule.params)
        try:
            selectors = tuple(_Selector.of(selector) for selector in rule.models)
            changes = tuple((_writable(path), _json_of(value, raw)) for path, value in params.items())
        except (PathError, TypeError) as error:
            logger.warning("payload: rule %d of %s is left out: %s", number, section, error)
        else:
            yield _Rule(action, selectors, changes)


def _writable(text: str) -> JsonPath:
    path = JsonPath(text)
    if not path.is_writable:
        raise PathError(f"{text!r} ends in a count, which cannot be changed")
    return path


def _json_of(value: Any, raw: bool) -> bytes:
    """Raises TypeError for what YAML can say and JSON cannot."""
    return value.encode() if raw and isinstance(value, str) else json.dumps(value)


def _conditions(conditions: Iterable[Mapping[str, Any]]) -> tuple[tuple[JsonPath, Any], ...]:
    # By way of JSON: a date in YAML is text in a body.
    return tuple(
        (JsonPath(path), json.loads(json.dumps(value))) for condition in conditions for path, value in condition.items()
    )


def _has_header(headers: Mapping[str, str], name: str, pattern: str) -> bool:
    return any(key.lower() == name.lower() and matches(pattern, value) for key, value in headers.items())


def _has_value(found: Iterable[Any]) -> bool:
    return any(value is not None for value in found)


def _is_one_of(wanted: Any, found: Iterable[Any]) -> bool:
    return any(_is_same(wanted, value) for value in found)


def _is_same(left: Any, right: Any) -> bool:
    """Equality of JSON values: in Python `True == 1`."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_is_same(value, right[name]) for name, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_same, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and left == right
