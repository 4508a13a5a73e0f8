"""What upstream errors of all formats have in common: any body at all, markup in messages, and waits in many words."""

import html
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, cast

from cliproxy.wire.errors import UpstreamRefused
from cliproxy.wire.fields import object_of, text_of
from cliproxy.wire.json import dumps_text, loads
from cliproxy.wire.model import Json

MAX_MESSAGE_CHARS = 2000
_MAX_WORD_CHARS = 200

_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_UNSEEN = re.compile(r"<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"</?[a-z][a-z0-9]*(\s[^<>]*)?/?>|<!(doctype|--)[^>]*>", re.IGNORECASE)
_PAGE = re.compile(r"<(!doctype|html|head|body|title|h1|p|b|center|pre|div|br)\b", re.IGNORECASE)

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|milli\w*|h|m|s)[a-z]*", re.IGNORECASE)
_HINT = re.compile(
    r"\b(?:try again in|retry in|retry after|reset in|reset after)\s+((?:\d+(?:\.\d+)?\s*[a-z]+[\s,]*)+)", re.IGNORECASE
)
_SECONDS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
