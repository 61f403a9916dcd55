"""Which provider is asked, where, and with which key."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from model_server import KEY, ModelServer, completion, message
from plait.errors import UsageError
from plait.models import AnthropicModel, Message, OpenAIModel, choose

KEYS = {"OPENROUTER_API_KEY": "key-r", "OPENAI_API_KEY": "key-o", "ANTHROPIC_API_KEY": "key-a"}


def test_the_first_provider_whose_key_is_declared_is_asked() -> None:
    """D8: in the order OpenRouter, OpenAI, Anthropic."""
    router = OpenAIModel("m", "key-r", "https://openrouter.ai/api/v1", "OpenRouter")
    assert choose("m", KEYS, environ={}) == router
    assert choose("m", dict(reversed(KEYS.items())), environ={}) == router
    del (some := dict(KEYS))["OPENROUTER_API_KEY"]
    assert choose("m", some, environ={}) == OpenAIModel("m", "key-o", "https://api.openai.com/v1")
    assert choose("m", {"ANTHROPIC_API_KEY": "key-a", "OTHER": "x"}, environ={}) == AnthropicModel("m", "key-a")


def test_a_provider_that_is_named_is_the_one() -> None:
    assert choose("m", KEYS, "openai", {}) == OpenAIModel("m", "key-o")
    assert choose("m", KEYS, "anthropic", {}) == AnthropicModel("m", "key-a")
    with pytest.raises(UsageError, match="declare the secret OPENAI_API_KEY"):
        choose("m", {"ANTHROPIC_API_KEY": "key-a"}, "openai", {})
    with pytest.raises(UsageError, match="there is no provider 'other'; known are openrouter, openai, anthropic"):
        choose("m", KEYS, "other", {})


def test_keys_of_the_environment_that_nobody_declared_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """D8: declared secrets only."""
    for name in KEYS:
        monkeypatch.setenv(name, "from-the-environment")
    with pytest.raises(UsageError, match="OPENROUTER_API_KEY, OPENAI_API_KEY, ANTHROPIC_API_KEY"):
        choose("m", {})
    with pytest.raises(UsageError, match="declare one of"):
        choose("m", {"OPENAI_API_KEY": ""})
    with pytest.raises(UsageError, match="declare the secret OPENAI_API_KEY"):
        choose("m", {"ANTHROPIC_API_KEY": "key-a"}, "openai")


@pytest.mark.realtime
@pytest.mark.parametrize(
    ("key", "url", "path"),
    [
        ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "/api/v1/chat/completions"),
        ("OPENAI_API_KEY", "OPENAI_BASE_URL", "/api/v1/chat/completions"),
        ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "/api/v1/v1/messages"),
    ],
)
def test_the_base_url_of_the_environment_is_asked_with_the_key_that_is_declared(
    monkeypatch: pytest.MonkeyPatch, key: str, url: str, path: str
) -> None:
    server = ModelServer()
    try:
        for name in KEYS:
            monkeypatch.setenv(name, "from-the-environment")
        monkeypatch.setenv(url, f"{server.url}/api/v1")
        server.says(message("yes") if key == "ANTHROPIC_API_KEY" else completion("yes"))
        assert asyncio.run(choose("m", {key: KEY}).ask([Message("user", "hi")])).text == "yes"
        asked = server.asked[0]
    finally:
        server.close()
    assert asked.path == path
    assert KEY in (asked.headers.get("x-api-key"), asked.headers.get("authorization", "").removeprefix("Bearer "))
    assert "from-the-environment" not in str(asked)


def test_importing_models_imports_nothing_of_a_provider() -> None:
    program = "import sys, plait\nassert 'plait.models' not in sys.modules\nimport plait.models, plait.testing, plait.nodes.ai\nprint([m for m in ('openai', 'anthropic', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
