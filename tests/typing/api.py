"""What type checkers see of the public names: checked by mypy, never run."""

from __future__ import annotations

from typing import Any, assert_type

import plait
import plait.models
from plait.testing import FakeModel


async def double(value: int) -> int:
    return 2 * value


def text(value: int) -> str:
    return str(value)


@plait.task
def length(value: str) -> int:
    return len(value)


@plait.task(retries=2)
def words(value: str) -> list[str]:
    return value.split()


async def flat() -> None:
    assert_type(await plait.amap(double, [1, 2]), list[int])
    assert_type(await plait.amap(text, [1, 2]), list[str])
    assert_type(plait.map_(text, [1]), list[str])
    result = await plait.run_with_concurrency([lambda signal: text(1)], 3)
    assert_type(result.outcomes[0], plait.Outcome)
    assert_type(result.aborted, bool)
    async with plait.as_completed(double, [1]) as done:
        async for outcome in done:
            assert_type(outcome.status, plait.Status)


async def graphs() -> None:
    assert_type(length("x"), int)
    assert_type(length.bind("x"), plait.Node[int])
    assert_type(words.bind("x").named("w").options(timeout=3), plait.Node[list[str]])
    assert_type(plait.run(length.bind("x")), int)
    assert_type(await plait.arun(words.bind("x")), list[str])
    graph = plait.Graph("g")
    assert_type(graph.add("a", length, args=("x",)), plait.Node[Any])
    assert_type(plait.run(graph), plait.RunResult)
    assert_type(plait.start(graph), plait.Run)
    assert_type(await plait.start(graph), plait.RunResult)
    assert_type(plait.current().key, str)
    metrics = plait.Metrics()
    plait.run(graph, readers=[metrics, plait.PrometheusExporter(), plait.OpenTelemetryExporter()])
    assert_type(metrics.efficiency, float | None)
    assert_type(metrics.kinds["length"].run_s.quantile(0.95), float | None)
    plait.retell("last", "runs.db", [metrics])


async def models(key: str) -> None:
    several: list[plait.models.Model] = [plait.models.OpenAIModel("m", key), plait.models.AnthropicModel("m", key)]
    several += [FakeModel({"n": 1}), FakeModel(["a", {"n": 1}]), FakeModel(lambda call: call.task)]
    several.append(plait.models.choose("m", {"OPENAI_API_KEY": key}))
    assert_type(await several[0].ask([plait.models.Message("user", "hi")]), plait.models.Reply)
