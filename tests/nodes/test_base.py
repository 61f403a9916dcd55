"""What nodes share: how their fields arrive, and how what blocks is ended."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import Any

import pytest

from plait.errors import NodeError, UsageError
from plait.nodes import Field, Node, given
from plait.nodes.base import one_of
from plait.nodes.stopping import Stop, Stopped, in_thread


class Shout(Node):
    fields = {
        "text": Field(required=True),
        "how": Field(default="loud", read=one_of("loud", "quiet"), aliases=("volume",)),
    }


class TestFields:
    """D8."""

    def test_they_are_read_and_have_defaults(self) -> None:
        assert given(Shout, {"text": "a"}) == {"text": "a", "how": "loud"}
        assert given(Shout, {"text": "a", "volume": "quiet"}) == {"text": "a", "how": "quiet"}

    def test_what_is_wrong_names_node_and_field(self) -> None:
        with pytest.raises(NodeError, match="n1: the field 'text' is missing"):
            given(Shout, {}, "n1")
        with pytest.raises(NodeError, match="n1: how: it is one of loud, quiet, not 'silent'") as found:
            given(Shout, {"text": "a", "how": "silent"}, "n1")
        assert not found.value.retryable
        with pytest.raises(UsageError, match="n1: Shout has no field 'color': it has how, text"):
            given(Shout, {"text": "a", "color": "red"}, "n1")


class TestThreads:
    def test_the_value_and_the_error_come_back(self) -> None:
        def wrong(stop: Stop) -> Any:
            raise KeyError("a")

        assert asyncio.run(in_thread(lambda stop: 3)) == 3
        with pytest.raises(KeyError):
            asyncio.run(in_thread(wrong))

    def test_a_cancellation_waits_until_the_work_has_ended(self) -> None:
        """D8: a timeout ends it for real."""
        began, ended, called = Event(), Event(), Event()

        def work(stop: Stop) -> None:
            stop.also(called.set)
            began.set()
            try:
                stop.wait(60)
            except Stopped:
                ended.set()
                raise

        async def main() -> None:
            task = asyncio.create_task(in_thread(work))
            await asyncio.to_thread(began.wait, 10)
            task.cancel()
            await asyncio.wait((task,))
            assert task.cancelled()
            assert ended.is_set()
            assert called.is_set()

        asyncio.run(main())
