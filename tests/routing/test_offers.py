"""cliproxy.routing.offers: `oauth-model-alias` and `oauth-excluded-models`."""

from typing import Any

import pytest

from cliproxy.config.schema import OAuthAlias
from cliproxy.credentials.record import OfferedModel
from cliproxy.routing.offers import offered_models
from cliproxy.routing.registry import Plans, RegisteredModel, Registry
from cliproxy.wire.model import ModelFacts


def known(name: str, shown: str) -> RegisteredModel:
    return RegisteredModel(name, "vendor", shown, ModelFacts(name, known=True))


REGISTRY = Registry(
    [known("big", "The Big"), known("small", "The Small")],
    {"vendor": Plans({"free": frozenset({"small"}), "pro": frozenset({"big", "small"})}, "pro", {})},
)
BIG, SMALL = OfferedModel("big", "big", "The Big"), OfferedModel("small", "small", "The Small")


def alias(name: str, alias: str, **more: Any) -> OAuthAlias:
    return OAuthAlias(name=name, alias=alias, **more)


def offered(*aliases: OAuthAlias, excluded: tuple[str, ...] = (), plan: str = "") -> list[OfferedModel]:
    return list(offered_models("vendor", plan, aliases, excluded, REGISTRY))


def test_an_account_offers_what_its_plan_has() -> None:
    assert offered() == [BIG, SMALL]
    assert offered(plan="free") == [SMALL]


def test_an_alias_takes_the_place_of_the_name() -> None:
    assert offered(alias("big", "huge")) == [OfferedModel("huge", "big", "The Big"), SMALL]


def test_a_fork_stands_beside_the_name() -> None:
    assert offered(alias("big", "huge", fork=True)) == [BIG, OfferedModel("huge", "big", "The Big"), SMALL]


def test_a_model_may_have_several_aliases() -> None:
    both = [OfferedModel("huge", "big", "The Big"), OfferedModel("vast", "big", "The Big")]
    assert offered(alias("big", "huge"), alias("big", "vast")) == [*both, SMALL]
    assert offered(alias("big", "huge"), alias("big", "vast", fork=True)) == [BIG, *both, SMALL]


def test_an_alias_has_its_own_words_for_people_and_for_answers() -> None:
    assert offered(alias("big", "huge", display_name="Huge", force_mapping=True))[0] == OfferedModel(
        "huge", "big", "Huge", force_mapping=True
    )


def test_the_first_model_under_an_alias_has_it() -> None:
    assert offered(alias("big", "mine"), alias("small", "Mine")) == [OfferedModel("mine", "big", "The Big"), SMALL]


def test_an_alias_that_is_the_name_says_nothing() -> None:
    assert offered(alias("big", "BIG")) == [BIG, SMALL]


def test_an_alias_may_take_another_models_name() -> None:
    assert offered(alias("big", "small")) == [OfferedModel("small", "big", "The Big")]


def test_names_are_found_whatever_their_case() -> None:
    assert offered(alias("BIG", "huge")) == [OfferedModel("huge", "big", "The Big"), SMALL]


def test_a_model_that_nobody_has_heard_of_can_have_an_alias() -> None:
    assert offered(alias("secret", "mine", fork=True)) == [BIG, SMALL, OfferedModel("mine", "secret")]


@pytest.mark.parametrize(
    ("excluded", "left"),
    [(("big",), ["small"]), (("BI*",), ["small"]), (("huge",), ["small"]), (("*",), []), (("x",), ["huge", "small"])],
)
def test_what_is_excluded_by_either_name_is_not_offered(excluded: tuple[str, ...], left: list[str]) -> None:
    assert [model.name for model in offered(alias("big", "huge"), excluded=excluded)] == left
