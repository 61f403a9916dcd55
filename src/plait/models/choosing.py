"""Which provider a model is asked at: by the keys that are declared, or by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

from plait.errors import UsageError
from plait.models.anthropic import ANTHROPIC_URL, AnthropicModel
from plait.models.base import Model
from plait.models.openai import OPENAI_URL, OpenAIModel


class Provider(NamedTuple):
    """Where models are asked: the names of its key and of its base URL, which is `url` where the environment has none."""

    key: str
    base_url: str
    url: str
    make: Callable[[str, str, str], Model]


PROVIDERS = {
    "openrouter": Provider(
        "OPENROUTER_API_KEY",
        "OPENROUTER_BASE_URL",
        "https://openrouter.ai/api/v1",
        lambda name, key, url: OpenAIModel(name, key, url, "OpenRouter"),
    ),
    "openai": Provider("OPENAI_API_KEY", "OPENAI_BASE_URL", OPENAI_URL, OpenAIModel),
    "anthropic": Provider("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", ANTHROPIC_URL, AnthropicModel),
}
"""By name. Where the keys of several are there, the first of them is asked."""

stand_in: Callable[[str], Model] | None = None
"""Of tests: gives the model for a name, instead of any provider's."""


def choose(
    name: str, secrets: Mapping[str, str], provider: str | None = None, environ: Mapping[str, str] | None = None
) -> Model:
    """The model `name` at `provider`; at None the first one whose key is among `secrets`. Nothing is asked yet.

    Base URLs are read from `environ` (the environment of this process), keys never.

    Raises:
        UsageError: for a provider that there is none of, or without a key.
    """
    if stand_in is not None:
        return stand_in(name)
    if provider is None:
        provider = next((each for each, known in PROVIDERS.items() if secrets.get(known.key)), None)
    if provider is None:
        names = ", ".join(known.key for known in PROVIDERS.values())
        raise UsageError(f"model {name!r} needs the key of a provider: declare one of these secrets: {names}")
    if provider not in PROVIDERS:
        raise UsageError(f"there is no provider {provider!r:.60}; known are {', '.join(PROVIDERS)}")
    known = PROVIDERS[provider]
    key = secrets.get(known.key)
    if not key:
        raise UsageError(f"model {name!r} at {provider} needs its key: declare the secret {known.key}")
    url = (os.environ if environ is None else environ).get(known.base_url) or known.url
    return known.make(name, key, url)
