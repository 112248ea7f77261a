"""Keys that must not be written: an error of a provider or a proxy may repeat the one it was sent."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tale_dspy.backends.lm import is_secret

MASK = "***"
SHORTEST = 6
"""Characters of the shortest text taken for a key: `none` and `any`, given to servers of one's own, are words."""

_KEYS_OF_ENVIRONMENT = re.compile(r"_(API_KEY|ACCESS_KEY|SECRET|TOKEN|PASSWORD)$", re.IGNORECASE)
_PASSWORD = re.compile(r"://[^/@\s]+@")
_known: set[str] = set()


def remember(settings: Mapping[str, Any]) -> None:
    """Remember the secrets among the settings of an LM, so that `masked` finds them in any text."""
    _known.update(_secrets(settings))


def masked(text: str) -> str:
    """Return a text without the secrets of the LMs and the environment, and without passwords in addresses."""
    told = {value for name, value in os.environ.items() if _KEYS_OF_ENVIRONMENT.search(name)}
    for secret in sorted((s for s in _known | told if len(s) >= SHORTEST), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _PASSWORD.sub("://", text)


def _secrets(settings: Mapping[str, Any], *, whole: bool = False) -> Iterator[str]:
    for name, value in settings.items():
        secret = whole or is_secret(str(name), value)
        if isinstance(value, Mapping):
            yield from _secrets(value, whole=secret)
        elif isinstance(value, str) and secret:
            yield value
            yield value.rpartition(" ")[2]  # a header says `Bearer` first
