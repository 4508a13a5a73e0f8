"""What a Kiro account's auth file says: the kind of login, its regions, its profile.

Both spellings occur: snake case in auth files, camel case in Kiro's own.
"""

import re

from cliproxy.providers.vendor import Fields

HOME_REGION = "us-east-1"
RUNTIME_REGIONS = (HOME_REGION, "eu-central-1")
"""Where profiles can be, wherever the login is."""
NO_PROFILE = "none"
"""In an auth file's `profile_arn`: was looked for, and there is none."""
BUILDER_START_URL = "https://view.awsapps.com/start"

_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d{1,2}")
_SOCIAL_PROVIDERS = frozenset({"google", "github"})


def text(fields: Fields, name: str) -> str:
    """A field's text, empty where there is none. name: in snake case."""
    first, *rest = name.split("_")
    value = fields.get(name) or fields.get(first + "".join(word.title() for word in rest))
    return value.strip() if isinstance(value, str) else ""


def is_social(fields: Fields) -> bool:
    """Whether it logged in by Google or GitHub at Kiro, not at AWS."""
    method = text(fields, "auth_method").lower()
    if method:
        return method == "social"
    return text(fields, "provider").lower() in _SOCIAL_PROVIDERS or not text(fields, "client_id")


def is_external(fields: Fields) -> bool:
    """Whether a company's own identity provider gave the tokens."""
    return text(fields, "auth_method").lower().replace("-", "_") == "external_idp"


def is_builder_id(fields: Fields) -> bool:
    """Whether it is an AWS Builder ID, which has no profile."""
    words = {text(fields, name).lower().replace("-", "").replace("_", "") for name in ("auth_method", "provider")}
    return "builderid" in words or text(fields, "start_url").rstrip("/") == BUILDER_START_URL


def login_region(fields: Fields) -> str:
    """Where its tokens come from: any of AWS's regions."""
    return _region(text(fields, "region")) or HOME_REGION


def profile_arn(fields: Fields) -> str:
    """The profile to call the service under, empty without one."""
    arn = text(fields, "profile_arn")
    return "" if arn == NO_PROFILE else arn


def runtime_region(fields: Fields) -> str:
    """Where it is served: where its profile is, whatever the login's region."""
    arn = profile_arn(fields).split(":")
    stated = (_region(arn[3]) if len(arn) > 3 else "") or _region(text(fields, "api_region"))
    if stated:
        return stated
    login = login_region(fields)
    return login if login in RUNTIME_REGIONS else HOME_REGION


def is_cli(fields: Fields) -> bool:
    """Which of the service's two endpoints to use, by the auth file's `preferred_endpoint`: `ide` or `cli`."""
    return text(fields, "preferred_endpoint").lower() == "cli"


def _region(text: str) -> str:
    """A region that may stand in a host name, else nothing."""
    return text if _REGION.fullmatch(text) else ""
