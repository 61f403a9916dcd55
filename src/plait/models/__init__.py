"""Models that are asked: one small protocol, and those of OpenAI, OpenRouter and Anthropic behind it.

Model       what can be asked: messages in; text, tool calls and usage out (Message, Tool, ToolCall, Usage, Reply, Stop)
choose      a model by its name, at the provider whose key there is;  OpenAIModel, AnthropicModel  by their account
structured  an answer that fits a schema, asked for again with the reasons until it does
record      counts what an answer used up, for models of your own

Nothing of a provider is imported before the first question.
"""

from __future__ import annotations

from plait.models.anthropic import AnthropicModel
from plait.models.base import Message, Model, Reply, Stop, Tool, ToolCall, Usage
from plait.models.choosing import choose
from plait.models.openai import OpenAIModel
from plait.models.spending import record
from plait.models.structured import structured

__all__ = [
    "AnthropicModel",
    "Message",
    "Model",
    "OpenAIModel",
    "Reply",
    "Stop",
    "Tool",
    "ToolCall",
    "Usage",
    "choose",
    "record",
    "structured",
]
