"""Conflicts through every front door: graphs, lists, maps, streams, files and the command line; in stored runs, and while a run grows."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import plait
from plait.errors import FlowError
from plait.testing import VirtualClock
from timed_steps import SEEN, step


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SEEN.clear()
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)


BOTH = "tasks 'a' and 'b' may run at once, and both write 'out.txt'"


def at_once() -> int:
    """How many calls were at work at one time, at most."""
    return max(sum(1 for _, began, ended in SEEN if began <= at < ended) for _, at, _ in SEEN)


def run(target: Any, **options: Any) -> plait.RunResult:
    async def main() -> plait.RunResult:
        return await plait.start(target, **options)

    return VirtualClock().run(main())


def two(first: dict[str, Any], second: dict[str, Any], **options: Any) -> plait.Graph:
    made = plait.Graph("two", **options)
    made.add("a", step, kwargs={"name": "a"}, **first)
    made.add("b", step, kwargs={"name": "b"}, **second)
    return made


async def mend() -> str:
    return await step("on_error")


def only_fails(item: str) -> None:
    raise ValueError(item)


async def mends(error: BaseException) -> str:
    return await step("mended")


def refused(target: Any, message: str, **options: Any) -> None:
    SEEN.clear()
    with pytest.raises(plait.ConflictError, match=message):
        run(target, **options)
    assert SEEN == []


class TestGraphs:
    def test_two_writers_of_one_path_are_refused_before_the_first_task(self) -> None:
        """B19 F80."""
        refused(two({"writes": "out.txt"}, {"writes": "out.txt"}), BOTH)

    def test_a_reader_and_a_writer_are_refused_and_two_readers_are_not(self) -> None:
        """B19."""
        refused(two({"reads": "in.txt"}, {"writes": "in.txt"}), "the one reads 'in.txt', the other writes 'in.txt'")
        assert run(two({"reads": "in.txt"}, {"reads": "in.txt"})).status == "succeeded"
        assert at_once() == 2

    def test_a_need_is_an_order(self) -> None:
        """B19."""
        made = plait.Graph("three")
        made.add("a", step, writes="out.txt")
        made.add("between", step, needs=["a"])
        made.add("b", step, writes="out.txt", needs=["between"])
        assert run(made).status == "succeeded"

    def test_all_conflicts_are_told_at_once(self) -> None:
        """B19."""
        made = plait.Graph("many")
        for key in ("a", "b", "c"):
            made.add(key, step, writes=["out", f"of {key}"])
        with pytest.raises(plait.ConflictError) as caught:
            run(made)
        assert [line.partition(" may")[0] for line in str(caught.value).split("\n")] == [
            "tasks 'a' and 'b'",
            "tasks 'a' and 'c'",
            "tasks 'b' and 'c'",
        ]

    def test_one_path_in_many_ways_of_writing(self, tmp_path: Path) -> None:
        """B19: `..`, slashes, absolute paths, path objects, folders and symbolic links; but upper and lower case differ."""
        here = Path.cwd()
        (here / "build").mkdir()
        (here / "link").symlink_to("build")
        (here / "beside").symlink_to(here / "build" / "x")
        for other in (
            "build/x",
            "./build//x/",
            "deep/../build/x",
            f"../{here.name}/build/x",
            here / "build" / "x",
            "build",
            ".",
            "..",
            "/",
            "link/x",
            "link/y/../x",
            "beside",
            "beside/within",
            ["somewhere", "build/x/y"],
        ):
            refused(two({"writes": "build/x"}, {"writes": other}), "may run at once")
        for other in ("build/xy", "Build/x", "build/y", "../build/x"):
            assert run(two({"writes": "build/x"}, {"writes": other})).status == "succeeded", other
        refused(two({"writes": "build/x"}, {"reads": "link"}), "the other reads 'build'")

    def test_who_may_serialise(self) -> None:
        """B19: the task, else the run, else the graph; and both have to."""
        plain: dict[str, Any] = {"writes": "out.txt"}
        waiting, refusing = {**plain, "on_conflict": "serialise"}, {**plain, "on_conflict": "refuse"}
        refused(two(waiting, plain), BOTH)
        refused(two(waiting, refusing), BOTH)
        refused(two(plain, refusing, on_conflict="serialise"), BOTH)
        refused(two(plain, plain, on_conflict="serialise"), BOTH, on_conflict="refuse")
        for target, options in (
            (two(waiting, waiting), {}),
            (two(waiting, plain, on_conflict="serialise"), {}),
            (two(plain, plain, on_conflict="serialise"), {}),
            (two(plain, plain), {"on_conflict": "serialise"}),
            (two(waiting, waiting), {"on_conflict": "refuse"}),
        ):
            SEEN.clear()
            assert run(target, **options).status == "succeeded"
            assert at_once() == 1
        with pytest.raises(plait.LimitError, match="on_conflict must be one of refuse, serialise"):
            plait.Graph("bad", on_conflict="wait")  # type: ignore[arg-type]

    def test_paths_are_worked_out_of_what_a_task_is_given(self) -> None:
        """B19: what needs no value of another task is known before the run."""
        named = plait.task(writes=lambda name: f"{name}.txt")(step)
        assert run([named.bind("a"), named.bind("b")]).status == "succeeded"
        refused([named.bind("a"), named.bind("a").named("b")], r"tasks 'step' and 'b' .* both write 'a.txt'")

    def test_a_function_that_raises_names_its_task(self) -> None:
        """B19: before the run where it is asked then, else as the failure of the task."""
        broken = plait.task(writes=lambda name: name.missing)(step)
        with pytest.raises(AttributeError) as caught:
            run(broken.bind("a").named("b"))
        assert caught.value.__notes__ == ["reads or writes of task 'b'"]
        result = run(broken.bind(plait.task(step).bind("a")).named("b"))
        assert isinstance(result["b"].error, AttributeError)

    def test_what_is_known_of_values_only_fails_the_task(self) -> None:
        """B19: and it never starts."""
        first = plait.task(step)
        second = plait.task(writes=lambda name: f"{name}.txt")(step)
        made = plait.Graph("late")
        name = made.add("name", first, args=("x",))
        made.add("a", step, writes="x.txt")
        made.add("b", second, args=(name,))
        made.add("c", second.options(on_conflict="serialise"), args=(name,))
        result = run(made)
        assert result["b"].status == "failed"
        assert isinstance(result["b"].error, plait.ConflictError)
        assert str(result["b"].error).startswith("tasks 'a' and 'b' may run at once, and both write 'x.txt'")
        assert isinstance(result["c"].error, plait.ConflictError)
        assert [each[0] for each in SEEN].count("x") == 1

    def test_what_is_known_of_values_only_is_serialised(self) -> None:
        """B19."""
        name = plait.task(step).bind("x")
        write = plait.task(writes=lambda name, seconds: [Path(f"{name}.txt")])(step)
        handle_free = [write.bind(name, 2).named("a"), write.bind(name, 3).named("b")]
        assert run(handle_free, on_conflict="serialise").status == "succeeded"
        assert at_once() == 1
        SEEN.clear()
        assert run(write.bind(name, 2).named("a").after(name)).status == "succeeded"

    def test_a_chain_of_paths_that_are_known_late_is_an_order(self) -> None:
        """B19."""
        write = plait.task(writes=lambda name, seconds: f"{name}.txt")(step)
        node = plait.task(step).bind("x")
        for _ in range(5):
            node = write.bind(node, 1)
        assert run(node).status == "succeeded"


class TestGrowth:
    def test_items_of_a_map_may_run_at_once(self) -> None:
        """B19: known before the run where the path is, else when the map grows."""
        refused(
            plait.task(writes="x")(step).map(["a", "b"]),
            r"tasks 'step\[0\]' and 'step\[1\]' may run at once, and both write 'x'",
        )
        refused(plait.task(writes="x")(step).map(plait.task(list).bind("ab")), "each of them writes 'x'")
        assert run(plait.task(writes="x")(step).map(["a"])).status == "succeeded"
        assert run(plait.task(writes="x")(step).map([])).status == "succeeded"
        assert run(plait.task(writes="x", on_conflict="serialise")(step).map(["a", "b", "c"])).status == "succeeded"
        SEEN.clear()
        named = plait.task(writes=lambda name: f"out/{name}")(step)
        assert run(named.map(["a", "b", "c"])).status == "succeeded"
        assert at_once() == 3
        SEEN.clear()
        refused(named.map(list("aba")), r"tasks 'step\[0\]' and 'step\[2\]' may run at once, and both write 'out/a'")

    def test_a_map_whose_items_are_known_late_fails_as_a_whole(self) -> None:
        """B19: before any of them starts, with all its conflicts."""
        named = plait.task(writes=lambda name: f"out/{name}")(step)
        made = plait.Graph("late")
        made.add("list", list, args=("abab",))
        made.add("all", named.map(made._nodes["list"]))
        result = run(made)
        assert result["all"].status == "failed"
        assert (
            str(result["all"].error)
            .split("\n")[0]
            .startswith("tasks 'all[0]' and 'all[2]' may run at once, and both write 'out/a'")
        )
        assert len(str(result["all"].error).split("\n")) == 2
        assert SEEN == []

    def test_what_a_task_grows_is_compared_with_what_is_there(self) -> None:
        """B19: with the tasks beside the one that grows, unless one of them needs the other."""

        def grow() -> Any:
            return [plait.task(writes="x")(step).bind("grown")]

        made = plait.Graph("growing")
        made.add("grow", grow)
        made.add("a", step, writes="x")
        result = run(made)
        assert result["grow"].status == "failed"
        assert "tasks 'a' and 'grow/step' may run at once, and both write 'x'" in str(result["grow"].error)

        for needs in (["grow"], []):
            made = plait.Graph("ordered")
            made.add("grow", grow, needs=[] if needs else ["a"], writes="x")
            made.add("a", step, writes="x", needs=needs)
            assert run(made).status == "succeeded"

    def test_children_of_two_tasks_are_compared(self) -> None:
        """B19."""

        def grow(path: str) -> Any:
            return plait.task(reads="in", writes=path)(step).bind(path)

        made = plait.Graph("two")
        made.add("a", grow, args=("x",))
        made.add("b", grow, args=("x/y",), needs=[])
        made.add("c", grow, args=("x",), needs=["a", "b"], join="all_done")
        result = run(made)
        assert sorted(result[key].status for key in "ab") == ["failed", "succeeded"]
        assert result["c"].status == "succeeded"

    def test_flat_lists_and_streams(self) -> None:
        """B19."""
        with VirtualClock():
            with pytest.raises(
                plait.ConflictError, match=r"tasks 'step\[0\]' and 'step\[1\]' may run at once, and both write 'x'"
            ):
                plait.map_(step, ["a", "b"], writes="x")
            with pytest.raises(plait.ConflictError, match="'step\\[0\\]' and 'step\\[2\\]'"):
                plait.map_(step, list("aba"), writes=lambda name: name)
            assert plait.map_(step, list("abc"), writes=lambda name: name) == ["a", "b", "c"]
            SEEN.clear()
            assert plait.map_(step, list("abc"), writes="x", on_conflict="serialise") == ["a", "b", "c"]
            assert at_once() == 1
        with pytest.raises(plait.ConflictError, match="may run at once, and both write 'x'"):
            plait.as_completed(step, ["a"], writes="x")

    def test_a_stream_compares_what_is_in_flight(self) -> None:
        """B19: and forgets what is over."""

        async def streamed(names: str, **options: Any) -> list[plait.Outcome]:
            done = plait.as_completed(step, list(names), max_concurrency=2, **options)
            return [out async for out in done]

        clock = VirtualClock()
        outs = clock.run(streamed("aab", writes=lambda name: name))
        assert sorted(str(each.status) for each in outs) == ["failed", "succeeded", "succeeded"]
        outs = clock.run(streamed("abcdab", writes=lambda name: name))
        assert [str(each.status) for each in outs] == ["succeeded"] * 6
        SEEN.clear()
        outs = clock.run(streamed("aaaa", writes=lambda name: name, on_conflict="serialise"))
        assert [str(each.status) for each in outs] == ["succeeded"] * 4
        assert at_once() == 1
        SEEN.clear()
        clock.run(streamed("aaaa", reads="x", on_conflict="serialise"))
        assert at_once() == 2

    def test_paths_that_nobody_has_any_more_are_forgotten(self) -> None:
        """B19: an endless stream of outputs keeps none of them."""

        async def streamed() -> int:
            names = (str(number) for number in range(300))
            async with plait.as_completed(
                step, names, max_concurrency=3, writes=lambda name: f"out/{name}", on_conflict="serialise"
            ) as done:
                async for _ in done:
                    pass
                assert done._driver is not None
                return len(done._driver.scheduler.admission.book.paths) + done._driver.claimed.size

        assert VirtualClock().run(streamed()) < 40  # those of the rows, which are used again

    def test_options_of_items_are_not_those_of_the_whole(self) -> None:
        """B19."""
        for name in ("reads", "writes", "on_conflict"):
            with pytest.raises(plait.UsageError, match=f"{name} belongs to each item"):
                plait.task(step).map(["a"], **{name: "refuse"})
        with pytest.raises(plait.UsageError, match="writes must be a plain function"):
            plait.task(writes=step)(step)


def fails() -> None:
    raise ValueError("no")


class TestOnError:
    def test_one_that_conflicts_is_refused_before_anything_runs(self) -> None:
        """B19 D8: it may run beside everything that may run beside its task."""
        for paths in ("x", lambda: "x"):
            made = plait.Graph("repaired")
            made.add("a", fails, on_error=plait.task(writes=paths)(mend).bind())
            made.add("b", step, kwargs={"name": "b"}, writes="x")
            refused(made, "tasks 'b' and 'a/on_error' may run at once, and both write 'x'")

    def test_it_comes_behind_its_task_and_before_whoever_needs_that(self) -> None:
        """B19 D8: and behind all that its task needs."""
        made = plait.Graph("ordered")
        made.add("before", step, args=("before",), writes="x")
        made.add("a", fails, writes="x", needs=["before"], on_error=plait.task(writes="x")(mend).bind())
        made.add("after", step, args=("after",), needs=["a"], join="all_done", writes="x")
        assert run(made).status == "succeeded"
        assert [each[0] for each in SEEN] == ["before", "on_error", "after"]

    def test_of_items_each_has_one(self) -> None:
        """B19 D8: those of a map are refused as its items are, before the run or when it grows."""
        mending = plait.task(on_error=plait.task(writes="x")(mend).bind())(only_fails)
        for items in (["a", "b"], plait.task(list).bind("ab")):
            refused(mending.map(items), "on_error' may run at once, and (both write|each of them writes) 'x'")
        serialised = plait.task(on_error=plait.task(writes="x", on_conflict="serialise")(mend).bind())(only_fails)
        assert run(serialised.map(["a", "b"])).status == "succeeded"
        assert at_once() == 1

    def test_what_depends_on_the_error_is_compared_when_there_is_one(self) -> None:
        """B19 D8: the paths are worked out of it."""
        made = plait.Graph("late")
        made.add("a", fails, on_error=plait.task(writes=lambda error: f"{error}.txt")(mends))
        made.add("b", step, kwargs={"name": "b"}, writes="no.txt")
        result = run(made)
        assert result["a"].status == "failed"
        assert "a/on_error" not in result
        (note,) = [each for each in result["a"].error.__notes__ if "on_error" in each]
        assert "tasks 'b' and 'a/on_error' may run at once, and both write 'no.txt'" in note

    def test_what_a_task_grows_comes_with_its_own(self) -> None:
        """B19 D8: whatever is known of it is compared when it grows, not when it is needed."""

        def grow() -> Any:
            return plait.task(on_error=plait.task(writes="x")(mend).bind())(fails).bind()

        made = plait.Graph("growing")
        made.add("grow", grow)
        made.add("a", step, args=("a",), writes="x")
        result = run(made)
        assert "tasks 'a' and 'grow/fails/on_error' may run at once" in str(result["grow"].error)
        assert "grow/fails" not in result

    def test_those_of_files_are_found_at_validation(self) -> None:
        """B19 D8: of tasks, groups and items, each with its place."""
        mending = "on_error: {run: 'true', writes: out}"
        found = problems(
            f"""
tasks:
  other: {{run: 'true', writes: out}}
  task: {{run: 'true', {mending}}}
  group: {{tasks: {{inner: {{run: 'true'}}}}, {mending}}}
  items: {{foreach: [1], run: 'true', {mending}}}
  behind: {{needs: [other, task, group, items], run: 'true', {mending}}}
"""
        )
        pairs = {each.split("[conflict]: ")[1].partition(" may")[0] for each in found}
        errors = ["'task/on_error'", "'group/on_error'", "'items[0]/on_error'"]
        names = ["'other'", *errors]
        assert pairs == {f"tasks {one} and {two}" for at, one in enumerate(names) for two in names[at + 1 :]}
        assert found[0].startswith("flow.yaml:4:47: error[conflict]: ")

    def test_an_error_in_a_path_is_known_late(self) -> None:
        """B19 D8: and a path of an item is known when its map grows."""
        text = """
tasks:
  other: {run: 'true', writes: 'made-2.txt'}
  items: {foreach: %s, run: 'exit {{ item }}', on_error: {run: 'true', writes: 'made-{{ %s }}.txt'}}
  list: {run: 'echo "[1, 2]"', output: json}
"""
        late = plait.run(from_file(text % ("[1, 2]", "error.exit_code")), raise_on_failure=False)
        assert (late["items[0]"].status, late["items[1]"].status) == ("succeeded", "failed")
        assert "'other' and 'items[1]/on_error' may run" in problems(text % ("[1, 2]", "item"))[0]
        grown = plait.run(from_file(text % ("'{{ tasks.list.output }}'", "item")), raise_on_failure=False)
        assert "'other' and 'items[1]/on_error' may run" in str(grown["items"].error)


def from_file(text: str) -> Any:
    Path("flow.yaml").write_text(text)
    return plait.load("flow.yaml")


def problems(text: str) -> list[str]:
    with pytest.raises(FlowError) as caught:
        from_file(text)
    return [str(each) for each in caught.value.problems]


class TestFiles:
    def test_each_conflict_has_its_place(self) -> None:
        """B19 F80: every one of them, with both keys, the path, the place and what to do; and everything else that is wrong."""
        found = problems(
            """
tasks:
  a: {run: echo a, writes: out}
  b:
    run: echo b
    writes: [x, out/b]
  c: {run: echo c, reads: x, timeout: -1}
  d: {run: echo d, reads: out, needs: [a, b]}
"""
        )
        advice = ": let one need the other, or give both `on_conflict: serialise`"
        assert found == [
            "flow.yaml:6:5: error[conflict]: tasks 'a' and 'b' may run at once: the one writes 'out', the other writes 'out/b'"
            + advice,
            "flow.yaml:7:20: error[conflict]: tasks 'b' and 'c' may run at once: the one writes 'x', the other reads 'x'"
            + advice,
            "flow.yaml:7:39: error[value]: timeout must be a positive finite number, not -1",
        ]

    def test_groups_and_items_are_looked_into(self) -> None:
        """B19."""
        found = problems(
            """
tasks:
  left: {tasks: {a: {run: echo, writes: out}, b: {run: echo, writes: out, needs: [a]}}}
  right: {tasks: {c: {run: echo, writes: out}}}
  after: {needs: [left, right], tasks: {d: {run: echo, writes: out}}}
  each:
    needs: [after]
    foreach: "{{ tasks.after.d.output }}"
    tasks: {e: {run: echo, reads: out}, f: {run: echo, writes: out, needs: [e]}}
  once: {needs: [each], foreach: [1], run: echo, writes: out}
  named: {needs: [once], foreach: [x, y, x], key: "{{ index }}-{{ item }}", run: echo, writes: "out/{{ item }}"}
"""
        )
        assert [line.partition(" may")[0] for line in found] == [
            "flow.yaml:4:34: error[conflict]: tasks 'left/a' and 'right/c'",
            "flow.yaml:4:34: error[conflict]: tasks 'left/b' and 'right/c'",
            "flow.yaml:9:56: error[conflict]: tasks of 'each[...]/f'",
            "flow.yaml:9:56: error[conflict]: tasks 'each[...]/e' and 'each[...]/f'",
            "flow.yaml:11:88: error[conflict]: tasks 'named[0-x]' and 'named[2-x]'",
        ]

    def test_templates_of_inputs_are_known_before_the_first_task(self) -> None:
        """B19: and those of items when they are there."""
        flow = from_file(
            """
inputs: {where: {type: string}}
tasks:
  a: {call: timed_steps:step, writes: out.txt}
  b: {call: timed_steps:step, writes: "{{ inputs.where }}"}
"""
        )
        assert run(flow, inputs={"where": "other.txt"}).status == "succeeded"
        SEEN.clear()
        refused(flow, r"^flow.yaml:5:31: error\[conflict\]: " + BOTH, inputs={"where": "out.txt"})

    def test_what_an_item_writes_is_known_when_it_grows(self) -> None:
        """B19: the foreach fails, and none of its items starts."""
        flow = from_file(
            """
tasks:
  list: {run: "printf '1\\n2\\n1\\n'", output: lines}
  each:
    foreach: "{{ tasks.list.output }}"
    call: timed_steps:step
    writes: ["out/{{ item }}"]
"""
        )
        result = plait.run(flow, raise_on_failure=False)
        assert result["each"].status == "failed"
        assert str(result["each"].error).startswith(
            "flow.yaml:7:5: error[conflict]: tasks 'each[0]' and 'each[2]' may run at once"
        )
        assert SEEN == []

    def test_what_a_group_writes_may_be_known_late(self) -> None:
        """B19: a template of a task beside it is decided; one of a task outside is known when the group grows."""
        text = """
tasks:
  name: {run: "echo x"}
  a: {run: "true", needs: [name], writes: x}
  group:
    tasks:
      inner: {run: "echo x"}
      late: {run: "touch late", writes: "{{ tasks.inner.output }}"}
"""
        result = plait.run(from_file(text), raise_on_failure=False)
        assert result["group/inner"].status == "succeeded"
        assert result["group/late"].status == "failed"
        assert not Path("late").exists()
        result = plait.run(from_file(text.replace("tasks.inner", "tasks.name")), raise_on_failure=False)
        assert result["group"].status == "failed"
        assert "group/inner" not in result
        assert plait.run(from_file("on_conflict: serialise" + text)).status == "succeeded"
        nearer = (
            text.replace("inner", "name")
            .replace("group:", "group:\n    needs: [name]")
            .replace('name: {run: "echo x"}\n      late', 'name: {run: "echo y"}\n      late')
        )
        assert "echo y" in nearer
        assert plait.run(from_file(nearer)).status == "succeeded"

    def test_a_file_its_defaults_and_its_tasks(self) -> None:
        """B19: who says whether conflicts are serialised."""
        tasks = "tasks: {a: {call: 'timed_steps:step', writes: x}, b: {call: 'timed_steps:step', writes: x%s}}\n"
        for around in ("on_conflict: serialise\n", "defaults: {on_conflict: serialise}\n"):
            SEEN.clear()
            assert run(from_file(around + tasks % "")).status == "succeeded"
            assert at_once() == 1
            assert "may run at once" in problems(around + tasks % ", on_conflict: refuse")[0]
        assert problems("on_conflict: wait\n" + tasks % "")[0].endswith(
            "on_conflict must be one of refuse, serialise, not 'wait'"
        )

    def test_a_group_reads_and_writes_through_its_tasks(self) -> None:
        """B19."""
        (found,) = problems("tasks: {g: {writes: x, tasks: {a: {run: echo}}}}")
        assert "writes belongs to what runs, not to a group: give it to the tasks in it" in found

    def test_what_is_worked_out_must_be_a_path(self) -> None:
        """B19: told with its place, as early as it is known."""
        (found,) = problems("tasks: {each: {foreach: [a, ''], run: 'true', writes: '{{ item }}'}}")
        assert found.startswith(
            "flow.yaml:1:47: error[value]: task '[1]': writes must be a path or a list of paths, not ''"
        )
        flow = from_file("inputs: {where: {}}\ntasks: {a: {run: 'true', writes: '{{ inputs.where }}'}}")
        with pytest.raises(
            plait.LimitError, match=r"^flow.yaml:2:26: error\[value\]: task 'a': writes: '~/x' is not expanded"
        ):
            run(flow, inputs={"where": "~/x"})
        numbered = from_file(
            "tasks: {each: {foreach: [1, 2], run: 'true', writes: '{{ item }}', reads: '{{ item.of }}'}}"
        )
        assert run(numbered).status == "succeeded"

    def test_keys_that_cannot_be_are_told_when_they_are_made(self) -> None:
        """B19: a look ahead does not stumble over them."""
        flow = from_file("tasks: {each: {foreach: [x, x], key: '{{ item }}', run: 'true', writes: 'out/{{ index }}'}}")
        result = plait.run(flow, raise_on_failure=False)
        assert "gives the key 'x' twice" in str(result["each"].error)

    def test_a_task_that_could_not_be_read_is_no_reason_for_a_conflict(self) -> None:
        """B19: it may be the one that orders the others."""
        found = problems("tasks: {a: {run: echo, writes: x}, m: {needs: [a]}, b: {run: echo, writes: x, needs: [m]}}")
        assert len(found) == 1
        assert "has no body" in found[0]


class TestCommandLine:
    def plait(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "plait", *words], capture_output=True, text=True, timeout=60)

    def test_validate_and_run_refuse_and_say_where(self) -> None:
        """B19."""
        Path("flow.yaml").write_text(
            "tasks:\n  a: {run: touch a, writes: out.txt}\n  b: {run: touch b, writes: out.txt}\n"
        )
        for command in ("validate", "run"):
            done = self.plait(command, "flow.yaml")
            assert done.returncode == 2
            assert f"flow.yaml:3:21: error[conflict]: {BOTH}" in done.stderr
        assert not Path("a").exists()
        listed = json.loads(self.plait("validate", "--json", "flow.yaml").stdout)
        assert [(each["line"], each["column"], each["code"]) for each in listed] == [(3, 21, "conflict")]

    def test_a_module_is_refused_too(self) -> None:
        """B19."""
        Path("made.py").write_text(
            "import plait\ndef f(): pass\ng = plait.Graph('g')\ng.add('a', f, writes='out.txt')\ng.add('b', f, writes='out.txt')\n"
        )
        done = self.plait("run", "made:g")
        assert done.returncode == 2
        assert BOTH in done.stderr

    def test_a_simulation_knows_who_waits_for_whom(self) -> None:
        """B19 X9: two that write one file take the time of both, on any number of slots."""
        Path("made.py").write_text(
            "import plait\ng = plait.Graph('g', on_conflict='serialise')\n"
            "for key in 'ab': g.add(key, plait.shell(['sleep', '0.2']), writes='out.txt')\n"
        )
        assert self.plait("run", "made:g").returncode == 0
        predicted = json.loads(self.plait("simulate", "made:g", "-j", "2", "--json").stdout)
        assert predicted["wall_s"] == pytest.approx(predicted["work_s"])


class TestStoredRuns:
    def test_a_resumed_run_keeps_the_same_paths_apart(self, tmp_path: Path) -> None:
        """B19: those that were worked out, too."""
        store = tmp_path / "plait.db"
        node = plait.task(first).bind()
        write = plait.task(writes=named, on_conflict="serialise")(step)
        constant = plait.task(writes="x", on_conflict="serialise")(step)
        target = [
            *(write.bind(node).named(f"t{at}") for at in range(3)),
            *(constant.bind("c").named(f"c{at}") for at in range(2)),
        ]

        async def leave() -> str:
            handle = plait.start(target, store=store)
            while len(SEEN) < 2:
                await asyncio.sleep(0.25)
            handle._driver.interrupt()
            await handle
            return handle.id

        run_id = VirtualClock().run(leave())
        before = len(SEEN)
        assert (at_once(), before < 5) == (1, True)
        SEEN.clear()

        async def go_on() -> Any:
            return await plait.resume(run_id, store=store)

        assert VirtualClock().run(go_on()).status == "succeeded"
        assert before + len(SEEN) == 5
        assert at_once() == 1

    def test_why_says_for_which_path(self, tmp_path: Path) -> None:
        """B19: a task that waits for a path that another one writes."""

        async def ask() -> str:
            handle = plait.start(two({"writes": "out.txt"}, {"writes": "out.txt"}, on_conflict="serialise"))
            await asyncio.sleep(0.5)
            answer = handle.why("b")
            await handle
            return answer.text

        assert VirtualClock().run(ask()) == "b waits to write 'out.txt': a writes it, for 0.5 s now"

    def test_options_that_change_are_no_edit_of_a_file(self, tmp_path: Path) -> None:
        """B19: an edited `writes` has nothing run again."""
        store = tmp_path / "plait.db"
        text = "tasks: {a: {run: 'echo x >> seen', writes: seen}, b: {run: 'false', needs: [a]}}"
        failed = plait.start(from_file(text), store=store).wait()
        assert failed.status == "failed"
        flow = from_file(text.replace("writes: seen", "writes: other").replace("'false'", "'true'"))
        assert plait.fork(failed.run_id, "b", flow, store=store).wait().status == "succeeded"
        assert Path("seen").read_text() == "x\n"

    def test_options_that_change_are_no_edit_of_what_is_made(self, tmp_path: Path) -> None:
        """B19: what a task says it writes is no part of its value."""
        store = tmp_path / "plait.db"
        done = plait.run(two({"writes": "a"}, {}), store=store, run_id="r1")
        assert done.status == "succeeded"
        forked = plait.fork("r1", "b", two({"writes": "other"}, {}), store=store).wait()
        assert forked.status == "succeeded"
        assert [name for name, _, _ in SEEN].count("a") == 1


def first() -> str:
    return "x"


def named(name: str) -> str:
    return name
