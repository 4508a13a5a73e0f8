"""What the program calls itself towards other servers."""

from importlib.metadata import PackageNotFoundError, version


def _user_agent() -> str:
    try:
        return f"cliproxy/{version('cliproxy')}"
    except PackageNotFoundError:
        # Run from its sources, as by another program's interpreter.
        return "cliproxy"


USER_AGENT = _user_agent()
