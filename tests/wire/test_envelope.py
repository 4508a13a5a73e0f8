"""cliproxy.wire.envelope: foreign reasoning tokens on their way through a client."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cliproxy.wire.envelope import seal, unseal
from cliproxy.wire.model import FORMATS, Carrier

_carriers = st.builds(
    Carrier,
    st.sampled_from(FORMATS),
    st.sampled_from(["signature", "redacted", "encrypted"]),
    st.text(),
    st.none() | st.text(),
)


@given(_carriers)
def test_a_sealed_carrier_comes_back(carrier):
    """Class 6: a token returns to its origin byte for byte."""
    assert unseal(seal(carrier)) == carrier


@given(_carriers)
def test_a_sealed_carrier_survives_sdks_that_decode_its_slot(carrier):
    """Gemini's slot is bytes: SDKs decode it and encode it again, in one or the other alphabet."""
    content = base64.urlsafe_b64decode(seal(carrier))
    assert unseal(base64.b64encode(content).decode()) == carrier
    assert unseal(base64.urlsafe_b64encode(content).decode()) == carrier


@pytest.mark.parametrize(
    "text",
    [
        "",
        "EqQBCkYIARgC",
        "gAAAAABpEiM",
        "skip_thought_signature_validator",
        "cpx1",
        "cpx1!!!!",
        "cpx1AAAA",
        "cpx1" + base64.b64encode(b'["x","signature","d",null]').decode(),
        "cpx1" + base64.b64encode(b'["gemini","secret","d",null]').decode(),
        "cpx1" + base64.b64encode(b'["gemini","signature",1,null]').decode(),
        "cpx1" + base64.b64encode(b'["gemini","signature"]').decode(),
        "cpx1\ud800",
    ],
)
def test_what_others_signed_is_not_ours(text):
    assert unseal(text) is None
