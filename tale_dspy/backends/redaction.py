"""Secrets that must not be written.

They are recognised by the name of their setting, and by their text in an error message.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tale_dspy.protocols import RequestSettings, SettingsView

MASK = "***"
SHORTEST_SECRET = 6
"""Characters of the shortest text taken for a key: `none` and `any`, given to local servers, are words."""

_SECRET = re.compile(r"(secret|password|authorization|bearer|(keys?|token)(_?id|_provider)?$)", re.IGNORECASE)
_SECRET_WHOLE = re.compile(r"(headers|credentials?|cookies?)$", re.IGNORECASE)
_NO_SECRETS = {"prompt_cache_key"}
_NO_SETTINGS = {"api_base", "base_url", "timeout", "cache", "num_retries"}
"""Settings that change where and how often a call is sent, and not what is asked."""
_KEYS_OF_ENVIRONMENT = re.compile(r"_(API_KEY|ACCESS_KEY|SECRET|TOKEN|PASSWORD)$", re.IGNORECASE)
_PASSWORD = re.compile(r"://[^/@\s]+@")
_registered: set[str] = set()


def is_secret(name: str, value: object) -> bool:
    """Return whether a setting may hold a key, a token or a header, by its name.

    Numbers are no secrets (`eos_token_id`). A mapping is searched instead, since the schema of a tool may describe a
    field of any name; only headers and credentials are secret as a whole.
    """
    if name in _NO_SECRETS or isinstance(value, int | float):
        return False
    return bool(_SECRET_WHOLE.search(name) or (_SECRET.search(name) and not isinstance(value, Mapping)))


def without_secrets(settings: object) -> Any:
    """Return settings without what `is_secret`, at any depth."""
    if isinstance(settings, Mapping):
        return {k: without_secrets(v) for k, v in settings.items() if not is_secret(str(k), v)}
    return [without_secrets(v) for v in settings] if isinstance(settings, list | tuple) else settings


def public_config(settings: SettingsView) -> RequestSettings:
    """Return the settings of a call that may be written and hashed.

    Keys, headers, addresses and None are left out.
    """
    public: RequestSettings = without_secrets(settings)
    return {k: v for k, v in public.items() if v is not None and k not in _NO_SETTINGS}


def register_secrets(settings: SettingsView) -> None:
    """Register the secrets among the settings of an LM.

    `redact` removes them from any text from then on.
    """
    _registered.update(_secret_values(settings))


def redact(text: str) -> str:
    """Return a text without secrets and without passwords in addresses.

    Secrets are those of LMs and of the environment.
    """
    from_environment = {value for name, value in os.environ.items() if _KEYS_OF_ENVIRONMENT.search(name)}
    secrets = (s for s in _registered | from_environment if len(s) >= SHORTEST_SECRET)
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _PASSWORD.sub("://", text)


def _secret_values(settings: SettingsView, *, whole: bool = False) -> Iterator[str]:
    for name, value in settings.items():
        secret = whole or is_secret(str(name), value)
        if isinstance(value, Mapping):
            yield from _secret_values(value, whole=secret)
        elif isinstance(value, str) and secret:
            yield value
            yield value.rpartition(" ")[2]  # a header says `Bearer` first
