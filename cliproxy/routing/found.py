"""What upstreams said they offer, and the local file that remembers it (`cliproxy models --refresh`)."""

import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec
import platformdirs

from cliproxy.credentials.atomic_write import write_atomically

FILE_NAME = "models.json"

logger = logging.getLogger(__name__)


class FoundModel(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model on an upstream's own list, as far as the list tells."""

    name: str
    """As the upstream calls it."""
    display_name: str = ""
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    input_modalities: tuple[str, ...] | None = None
    thinks: bool | None = None
    """Whether it can reason; None: the list does not say."""


class FoundList(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that one upstream offers."""

    provider: str
    models: tuple[FoundModel, ...]
    base_url: str = ""
    """Where the upstream of a key is; empty for accounts, which are told apart by their plans."""
    plan: str = ""
    found_s: float = 0.0
    """When it said so; UTC epoch seconds."""


class _Document(msgspec.Struct):
    lists: list[FoundList]


def path_of(models_file: str) -> Path:
    """Where the file is. models_file: as the config says; empty: in the user's data directory."""
    return Path(models_file).expanduser() if models_file else platformdirs.user_data_path("cliproxy") / FILE_NAME


def load(path: Path) -> list[FoundList]:
    """What was found so far; nothing, and a warning, where the file is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Document).lists
    except FileNotFoundError:
        return []
    except OSError as error:
        logger.warning("%s: the models that were found cannot be read: %s", path, error.strerror)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        logger.warning("%s is damaged and left aside (cliproxy models --refresh makes a new one): %s", path, error)
    return []


def save(path: Path, lists: Iterable[FoundList]) -> None:
    """Put lists in the place of older ones of the same upstreams; those of others stay. Raises OSError."""
    known = {_upstream(one): one for one in load(path)}
    known.update((_upstream(one), one) for one in lists)
    document = msgspec.json.encode(_Document(list(known.values())))
    write_atomically(path, msgspec.json.format(document))


def _upstream(found: FoundList) -> tuple[str, str, str]:
    return found.provider, found.base_url, found.plan
