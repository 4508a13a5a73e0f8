"""Kiro: AWS CodeWhisperer, now Amazon Q Developer, behind the login of Kiro's tools.

A login is linked from AWS's SSO cache, or imported from it; there is none of our own.
"""

from cliproxy.providers.kiro.dialect import Kiro
from cliproxy.providers.kiro.login import REGISTRATION, renew
from cliproxy.providers.kiro.profile import discover
from cliproxy.providers.kiro.quota import quota
from cliproxy.providers.vendor import Vendor

VENDOR = Vendor(
    name="kiro",
    title="Kiro",
    formats=("anthropic",),
    dialect=Kiro(),
    base_url="https://q.{region}.amazonaws.com",
    registration=REGISTRATION,
    lead_s=600.0,
    renew=renew,
    needs="profile_arn",
    discover=discover,
    quota=quota,
)
"""`codewhisperer.us-east-1.amazonaws.com` answers as well, but in that region alone."""
