"""cliproxy.wire.errors: errors travel whole."""

import copy

import pytest

from cliproxy.wire.errors import ClientFault, UnsupportedContent, UpstreamCut, UpstreamRefused

ERRORS = [
    ClientFault("no", param="model", code="x"),
    UnsupportedContent("audio", "Messages", param="messages[0]"),
    UpstreamCut(),
    UpstreamRefused("busy", status=529, kind="overloaded_error", retry_after_s=2.5, headers={"a": "b"}, body=b"{}"),
]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy])  # as pickling does it
def test_a_copy_says_the_same(error, again):
    copied = again(error)
    assert type(copied) is type(error) and copied is not error
    assert (str(copied), vars(copied)) == (str(error), vars(error))


def test_a_cut_answer_needs_no_words():
    assert UpstreamCut().message == "the upstream's answer ended before its end"
    assert UpstreamCut("gone").message == "gone"
