"""Names of models: Kiro has its own for Claude, with a dot in the version and without a date."""

import re

_AUTO = "auto"
"""Leaves the choice to the service, which knows no model of this name."""
_FAMILY_FIRST = re.compile(r"claude-(sonnet|opus|haiku)-(\d{1,2})(?:[-.](\d{1,2}))?(?:-\d{8})?")
"""`claude-sonnet-4-5-20250929`"""
_VERSION_FIRST = re.compile(r"claude-(\d{1,2})(?:[-.](\d{1,2}))?-(sonnet|opus|haiku)(?:-\d{8}|-latest)?")
"""`claude-3-7-sonnet-20250219`"""


def model_id(name: str) -> str:
    """Kiro's id for a model; Anthropic's names of Claude are understood. Empty: the service shall choose."""
    if name == _AUTO:
        return ""
    if match := _FAMILY_FIRST.fullmatch(name):
        family, major, minor = match.groups()
        return f"claude-{family}-{_version(major, minor)}"
    if match := _VERSION_FIRST.fullmatch(name):
        major, minor, family = match.groups()
        return f"claude-{_version(major, minor)}-{family}"
    return name


def _version(major: str, minor: str | None) -> str:
    return f"{major}.{minor}" if minor else major
