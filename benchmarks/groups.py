"""What is compared: groups of rows, each group with the rows its ratios are to and the goal it is there for."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One thing to measure: a work of a module, in a process of its own."""

    name: str
    module: str
    work: str
    size: int | None = None
    """Where it isn't the group's: what is compared then is the figure per task."""
    peer: str = ""
    """The package or program that must be there; "" for plain Python and plait."""
    venv: str = ""
    """The virtual environment whose Python runs it; "" for the one that runs `run.py`."""
    rounds: int | None = None
    """At most this many, for slow ones."""
    timeout: float = 120


class Group(NamedTuple):
    """Rows that are measured in turns. Ratios are to the row `base`, and to `second` where there is one."""

    name: str
    size: int
    rows: list[Row]
    base: str
    second: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    """More comparisons: this row to that one."""
    goal: str = ""
    unit: str = "µs"
    per: str = "task"
    """What one figure is of; "" for the whole of a row."""
    memory: bool = True
    family: str = ""
    """Groups of one family differ in their size alone: their rows are compared across sizes."""
    smoke: int = 150
    """The size in a smoke run."""


def label(size: int) -> str:
    return f"{size // 1_000_000}M" if size >= 1_000_000 else f"{size // 1000}k"


FLAT_PAIRS = (
    ("plait.amap, timeout=60 each", "plait.amap"),
    ("one Task per item, asyncio.timeout each", "one Task per item"),
    ("plait.amap, uvloop", "one Task per item, uvloop"),
    ("plait.amap, uvloop", "plait.amap"),
)


def flat(size: int) -> Group:
    rows = [
        Row("one Task per item", "limits", "task_per_item noop"),
        Row("gather + Semaphore", "limits", "gather_semaphore noop"),
        Row("bare for-await loop", "limits", "bare_loop noop"),
        Row("one Task per item, asyncio.timeout each", "limits", "task_per_item noop timeout"),
        Row("one Task per item, uvloop", "limits", "task_per_item noop uvloop", peer="uvloop"),
        Row("plait.amap", "with_plait", "amap noop"),
        Row("plait.amap, timeout=60 each", "with_plait", "amap noop timeout"),
        Row("plait.amap, uvloop", "with_plait", "amap noop uvloop", peer="uvloop"),
        Row("trio", "peers.asyncs", "trio noop", peer="trio", venv="light"),
        Row("anyio", "peers.asyncs", "anyio noop", peer="anyio", venv="light"),
        Row("aiometer", "peers.asyncs", "aiometer noop", peer="aiometer", venv="light", timeout=60),
        Row("Dask, synchronous", "peers.dask_", "sync noop", peer="dask", venv="dask"),
        Row("Dask, threaded", "peers.dask_", "threaded noop", peer="dask", venv="dask"),
    ]
    if size == 10_000:
        rows += [
            Row("LangGraph", "peers.langgraph_", "noop", peer="langgraph", venv="langgraph"),
            Row("Prefect", "peers.prefect_", "noop", 500, peer="prefect", venv="prefect", rounds=3, timeout=180),
        ]
    return Group(
        f"flat no-op {label(size)}",
        size,
        rows,
        "one Task per item",
        "gather + Semaphore",
        FLAT_PAIRS,
        goal="plait.amap at most 0.6 of one Task per item, 0.25 of gather + Semaphore and 160 bytes a task; a timeout on each adds at most 5 %",
        family="flat no-op",
    )


def suspending(size: int) -> Group:
    return Group(
        f"flat suspending {label(size)}",
        size,
        [
            Row("one Task per item", "limits", "task_per_item pause"),
            Row("gather + Semaphore", "limits", "gather_semaphore pause"),
            Row("one Task per item, asyncio.timeout each", "limits", "task_per_item pause timeout"),
            Row("one Task per item, uvloop", "limits", "task_per_item pause uvloop", peer="uvloop"),
            Row("plait.amap", "with_plait", "amap pause"),
            Row("plait.amap, timeout=60 each", "with_plait", "amap pause timeout"),
            Row("plait.amap, uvloop", "with_plait", "amap pause uvloop", peer="uvloop"),
            Row("trio", "peers.asyncs", "trio pause", peer="trio", venv="light"),
            Row("anyio", "peers.asyncs", "anyio pause", peer="anyio", venv="light"),
        ],
        "one Task per item",
        "gather + Semaphore",
        FLAT_PAIRS,
        goal="plait.amap at most 1.3 of one Task per item; a timeout on each adds at most 1 µs",
        family="flat suspending",
    )


def graph(shape: str, size: int, goal: str, *more: Row) -> Group:
    return Group(
        f"{shape} graph {label(size)}",
        size,
        [
            Row("one Task per node", "limits", f"task_per_node {shape}"),
            Row("bare graphlib loop", "limits", f"graphlib_loop {shape}"),
            Row("counters + deque, plain calls", "limits", f"indegree_loop {shape}"),
            Row("plait, building included", "with_plait", f"graph {shape}"),
            Row("plait, engine part", "with_plait", f"engine {shape}"),
            *more,
        ],
        "one Task per node",
        "bare graphlib loop",
        goal=goal,
        family=f"{shape} graph",
    )


def dask(shape: str, size: int | None = None) -> list[Row]:
    return [
        Row("Dask, synchronous", "peers.dask_", f"sync {shape}", size, peer="dask", venv="dask"),
        Row("Dask, threaded", "peers.dask_", f"threaded {shape}", size, peer="dask", venv="dask"),
    ]


def langgraph(shape: str, size: int | None = None) -> Row:
    return Row("LangGraph", "peers.langgraph_", shape, size, peer="langgraph", venv="langgraph")


BY_HAND = "counters + deque, a row a task"
BY_HAND_NORMAL = f"{BY_HAND}, NORMAL"
PLAIT_NORMAL = "plait, durability=normal"

DURABLE_GOAL = (
    "at most 4 of a row for each task by hand (aim: 1.5); at least 10 times as fast as LangGraph, 100 times as Prefect"
)
DURABLE_CHAIN_GOAL = "at most 2.5 of one commit for each step by hand (aim: 2.2)"


def durable(shape: str, size: int, goal: str, *more: Row) -> Group:
    """The same graphs, kept. Rows that name nothing else are synced to the disk at every commit."""
    plain = "listed" if shape == "flat" else f"graph {shape}"
    return Group(
        f"durable {shape} {label(size)}",
        size,
        [
            Row(BY_HAND, "durable", f"kept {shape}"),
            Row(BY_HAND_NORMAL, "durable", f"kept {shape} normal"),
            Row("plait", "with_plait", f"stored {shape}"),
            Row(PLAIT_NORMAL, "with_plait", f"stored {shape} normal"),
            Row("plait, no store", "with_plait", plain),
            *more,
        ],
        BY_HAND,
        pairs=((PLAIT_NORMAL, BY_HAND_NORMAL), *((each.name, "plait") for each in more)),
        goal=goal,
        family=f"durable {shape}",
    )


def keepers(shape: str, rounds: int | None = None, timeout: float = 180) -> tuple[Row, Row]:
    """Peers that keep what is done."""
    saver, kept = "langgraph-checkpoint-sqlite", f"kept {shape}"
    most = rounds or 3
    return (
        Row(
            "LangGraph + SQLite", "peers.langgraph_", kept, peer=saver, venv="langgraph", rounds=rounds, timeout=timeout
        ),
        Row("Prefect", "peers.prefect_", kept, peer="prefect", venv="prefect", rounds=most, timeout=timeout),
    )


POOL, MAP = "ProcessPoolExecutor, chunks of 1", "plait.map_, process"
FORKED = "forked processes, a share each"


def in_processes(name: str, size: int, goal: str, work: str, slow: int | None, *more: Row) -> Group:
    """`slow` is the size of the rows of peers that take long."""
    rows = [
        Row("one after another", "limits", f"one by one {work}"),
        Row(FORKED, "limits", f"forked {work}"),
        Row(POOL, "limits", f"pool {work}"),
        Row(MAP, "with_plait", f"process {work}"),
        Row("plait.run, a graph, workers at work already", "with_plait", f"process {work} warm"),
        *more,
        Row("joblib", "peers.pools", f"joblib {work}", peer="joblib", venv="processes"),
        Row("loky, chunks of 1", "peers.pools", f"loky {work}", peer="loky", venv="processes", rounds=3),
        Row("Dask, LocalCluster", "peers.dask_", f"cluster {work}", slow, "distributed", "dask", rounds=3, timeout=180),
        Row("Ray", "peers.ray_", work, slow, peer="ray", venv="ray", rounds=3, timeout=180),
    ]
    pairs = ((MAP, FORKED),)
    return Group(name, size, rows, "one after another", POOL, pairs, goal=goal, memory=False, smoke=20)


def in_threads(slots: int) -> Group:
    return Group(
        f"no-op thread tasks, {slots} slots",
        20_000,
        [
            Row("ThreadPoolExecutor.map", "limits", f"threads {slots}"),
            Row("plait.map_, thread", "with_plait", f"threads {slots}"),
            Row("plait.run, a node each", "with_plait", f"thread nodes {slots}"),
            Row("joblib, threading", "peers.pools", f"joblib threads {slots}", peer="joblib", venv="processes"),
        ],
        "ThreadPoolExecutor.map",
        goal="no slower than ThreadPoolExecutor.map",
        memory=False,
        smoke=20,
    )


LAYERED_GOAL = "the engine part at most 0.6 of one Task per node; with building at most 1.0 of the graphlib loop"
SIZE_GOAL = "a task at 1M costs at most 2.0 of one at 10k; at most 300 bytes a node"
CHAIN_GOAL = "at most 0.35 of one Task per node"
LINEAR_GOAL = "nothing grows faster than the size"


def cancel(size: int) -> Group:
    return Group(
        f"cancel {label(size)} running",
        size,
        [
            Row("TaskGroup", "limits", "cancel task_group"),
            Row("gather, cancelled by hand", "limits", "cancel gather"),
            Row("asyncio.wait, cancelled by hand", "limits", "cancel wait"),
            Row("plait.amap", "with_plait", "cancel amap"),
            Row("anyio", "peers.asyncs", "anyio cancel", peer="anyio", venv="light"),
            Row("trio", "peers.asyncs", "trio cancel", peer="trio", venv="light"),
        ],
        "TaskGroup",
        goal="from the failure of one task until all others are over, at most 1.5 of TaskGroup",
        unit="ms",
        per="",
        memory=False,
    )


STOP_GOAL = "100k tasks that have not started make a cancel at most 1 ms longer"


def stop(name: str, plait: str, work: str, *more: Row) -> Group:
    return Group(
        name,
        100_000,
        [Row(f"{plait}, nothing waits", "with_plait", work, 0), Row(f"{plait}, n wait", "with_plait", work), *more],
        f"{plait}, nothing waits",
        goal=STOP_GOAL,
        unit="ms",
        per="",
        memory=False,
    )


def commands(slots: int) -> Group:
    return Group(
        f"commands, {slots} at once",
        2_000,
        [
            Row("make -Otarget", "peers.commands", f"make {slots}", peer="make"),
            Row("ninja", "peers.commands", f"ninja {slots}", peer="ninja"),
            Row("posix_spawn loop, no capture", "commands", f"spawn {slots}"),
            Row("posix_spawn loop, captured", "commands", f"captured {slots}"),
            Row("posix_spawn loop, captured, through the shell", "commands", f"captured sh {slots}"),
            Row("asyncio subprocess + Semaphore", "commands", f"asyncio {slots}"),
            Row("plait.run, a script", "commands", f"plait {slots}"),
            Row("plait.run, a script, through the shell", "commands", f"plait sh {slots}"),
            Row("plait map", "commands", f"plait map {slots}"),
            Row("plait run FILE, foreach", "commands", f"plait run foreach {slots}"),
            Row("plait run FILE, a task each", "commands", f"plait run tasks {slots}"),
            Row("xargs -P", "peers.commands", f"xargs {slots}", peer="xargs"),
            Row("GNU parallel", "peers.commands", f"parallel {slots}", peer="parallel"),
            Row("doit", "peers.commands", f"doit {slots}", peer="doit", venv="doit", rounds=3),
            Row("snakemake", "peers.commands", f"snakemake {slots}", 200, peer="snakemake", venv="snakemake", rounds=3),
        ],
        "make -Otarget",
        "ninja",
        (
            ("plait.run, a script", "asyncio subprocess + Semaphore"),
            ("plait.run, a script", "GNU parallel"),
            ("plait map", "GNU parallel"),
            ("plait.run, a script, through the shell", "posix_spawn loop, captured, through the shell"),
        ),
        goal="plait.run at most 1.35 of make (aim: 1.25), 0.7 of ninja, 0.3 of GNU parallel; through the shell at most 1.2 of ninja",
        per="command",
        memory=False,
        smoke=10,
    )


def start_up() -> Group:
    return Group(
        "start-up",
        10,
        [
            Row("python -c pass", "startup", "pass"),
            Row("import asyncio", "startup", "import asyncio"),
            Row("import plait", "startup", "import plait"),
            Row("from plait import amap, run", "startup", "from plait"),
            Row("plait --version", "startup", "plait --version"),
            Row("plait run FILE, one command", "startup", "plait run"),
            Row("make, one command", "startup", "make", peer="make"),
            Row("import dask", "startup", "import dask", peer="dask", venv="dask"),
            Row("Dask, one task", "startup", "dask", peer="dask", venv="dask"),
            Row("import langgraph.graph", "startup", "import langgraph", 3, peer="langgraph", venv="langgraph"),
            Row("LangGraph, one node", "startup", "langgraph", 3, peer="langgraph", venv="langgraph"),
            Row("import prefect", "startup", "import prefect", 1, peer="prefect", venv="prefect", rounds=3),
            Row("Prefect, one flow", "startup", "prefect", 1, peer="prefect", venv="prefect", rounds=3, timeout=180),
        ],
        "python -c pass",
        "import asyncio",
        goal="import plait at most 20 ms above import asyncio",
        unit="ms",
        per="process",
        memory=False,
        smoke=1,
    )


def one_task(name: str, venv: str) -> Group:
    """A program with one task that is kept in a file, in this environment or in one with plait alone.

    What developers have installed beside it counts: msgspec imports `typing_extensions` where that is there.
    """
    first, second = "asyncio + sqlite3, new file", "asyncio + sqlite3"
    rows = ((first, "by hand"), (second, "by hand, again"), ("plait, new store", "plait"), ("plait", "plait, again"))
    return Group(
        name,
        10,
        [Row(each, "startup", kind, venv=venv) for each, kind in rows],
        first,
        second,
        goal="the whole process at most 1.5 of asyncio + sqlite3 (aim: 1.3)",
        unit="ms",
        per="process",
        memory=False,
        smoke=1,
    )


def limited(size: int) -> Group:
    return Group(
        f"layered graph with limits {label(size)}",
        size,
        [
            Row("plait, none", "with_plait", "graph layered"),
            Row("plait, three priorities", "with_plait", "limited priorities"),
            Row("plait, a pool", "with_plait", "limited pool"),
            Row("plait, a rate", "with_plait", "limited rate"),
            Row("plait, a pool, a rate and priorities", "with_plait", "limited pool rate priorities"),
        ],
        "plait, none",
        goal="all three at most 2 of the same graph without them (aim 1.5)",
        memory=False,
    )


def read(size: int) -> Group:
    return Group(
        f"flat no-op with a reader {label(size)}",
        size,
        [
            Row("plait, no reader", "with_plait", "amap noop"),
            Row("plait, a reader that does nothing", "with_plait", "read nothing"),
            Row("plait, plait.Metrics", "with_plait", "read metrics"),
            Row("plait, plait.PrometheusExporter", "with_plait", "read prometheus", peer="prometheus-client"),
            Row("plait, plait.OpenTelemetryExporter", "with_plait", "read otel", peer="opentelemetry-sdk"),
        ],
        "plait, no reader",
        goal="plait.Metrics adds at most 25 µs to a task, and nothing to one that nobody reads",
        family="flat no-op with a reader",
    )


def blocked(size: int) -> Group:
    return Group(
        f"blocked on a full pool {label(size)}",
        size,
        [Row("plait, two at once", "with_plait", "blocked"), Row("one Task per item", "limits", "task_per_item pause")],
        "one Task per item",
        goal="a task costs with 100,000 parked what it costs with 1,000",
        family="blocked on a full pool",
    )


GROUPS: list[Group] = [
    limited(100_000),
    read(10_000),
    read(100_000),
    blocked(1_000),
    blocked(10_000),
    blocked(100_000),
    flat(10_000),
    flat(100_000),
    suspending(10_000),
    suspending(100_000),
    graph(
        "layered",
        1_000,
        LAYERED_GOAL,
        *dask("layered"),
        langgraph("layered"),
        Row("Prefect", "peers.prefect_", "layered", 300, peer="prefect", venv="prefect", rounds=3, timeout=180),
    ),
    graph("layered", 10_000, LAYERED_GOAL, *dask("layered"), langgraph("layered")),
    graph("layered", 100_000, LAYERED_GOAL),
    graph("layered", 1_000_000, SIZE_GOAL),
    graph("chain", 10_000, CHAIN_GOAL, *dask("chain", 1000), langgraph("chain", 1000)),
    graph("chain", 100_000, CHAIN_GOAL),
    graph("star", 10_000, LINEAR_GOAL),
    graph("star", 100_000, LINEAR_GOAL),
    graph("fan-in", 10_000, LINEAR_GOAL),
    graph("fan-in", 100_000, LINEAR_GOAL),
    Group(
        "growth 100k",
        100_000,
        [
            Row("plait, nodes in a list", "with_plait", "listed"),
            Row("one Task per item", "limits", "task_per_item noop"),
            Row("plait, nodes returned by a task", "with_plait", "grown"),
        ],
        "plait, nodes in a list",
        "one Task per item",
        goal="tasks that a task returns cost about what they cost when known before",
    ),
    durable("flat", 1_000, DURABLE_GOAL, *keepers("flat")),
    durable("flat", 10_000, DURABLE_GOAL, *keepers("flat", 1, 900)),
    durable("flat", 100_000, DURABLE_GOAL, *keepers("flat", 1, 300)),
    durable("layered", 1_000, DURABLE_GOAL, *keepers("layered")),
    durable("layered", 10_000, DURABLE_GOAL, *keepers("layered", 1, 900)),
    durable("layered", 100_000, DURABLE_GOAL, *keepers("layered", 1, 300)),
    durable(
        "chain",
        1_000,
        DURABLE_CHAIN_GOAL,
        Row("by hand, a thread commits", "durable", "kept chain thread"),
        *keepers("chain"),
    ),
    Group(
        "durable, resume 100k",
        100_000,
        [
            Row("by hand, layered", "durable", "again"),
            Row("plait.resume, flat", "with_plait", "resume flat"),
            Row("plait.resume, layered", "with_plait", "resume layered"),
        ],
        "by hand, layered",
        goal="until the one task that is left has run, at most 6 µs for each that is done (aim: 2)",
    ),
    Group(
        "durable, end to commit 10k",
        10_000,
        [
            Row("plait, half of the tasks", "with_plait", "commit median"),
            Row("plait, 99 of 100 tasks", "with_plait", "commit late"),
        ],
        "plait, half of the tasks",
        goal="half of the tasks are committed within 10 ms of their end",
        unit="ms",
        per="",
        memory=False,
    ),
    one_task("durable, one task", ""),
    one_task("durable, one task, as users have it", "plain"),
    in_processes(
        "CPU tasks of 5 ms",
        1_000,
        "starting the workers included, at most 1.10 of one after another, shared by the CPUs (aim: 1.05)",
        "long",
        None,
    ),
    in_processes(
        "CPU tasks of 50 µs",
        40_000,
        "starting the workers included, at most 1.6 of one after another, shared by the CPUs (aim: 1.35)",
        "short",
        10_000,
        Row("ProcessPoolExecutor, 16 chunks a CPU", "limits", "pool short tuned"),
        Row("plait.map_, process, 100 slots", "with_plait", "process short 100"),
    ),
    Group(
        "end a call that spins",
        20,
        [
            Row("plait, process: it hears TERM, longest of n", "with_plait", "end spinning"),
            Row("plait, process: it is deaf, after its grace, longest of n", "with_plait", "end deaf"),
        ],
        "plait, process: it hears TERM, longest of n",
        goal="over at most 100 ms after its timeout, and after `grace` where it does not listen",
        unit="ms",
        per="",
        memory=False,
        smoke=2,
    ),
    in_threads(2),
    in_threads(8),
    Group(
        "FlowScript foreach 10k",
        10_000,
        [
            Row("the same graph, built in Python", "scripts", "python"),
            Row("a foreach with a map in it", "scripts", "foreach"),
        ],
        "the same graph, built in Python",
        goal="at most 3 of the same graph built in Python",
    ),
    Group(
        "FlowScript validate 2k",
        2_000,
        [Row("a file of 2,000 nodes", "scripts", "validate")],
        "a file of 2,000 nodes",
        goal="a file of 2,000 nodes is read and checked within a second",
        unit="ms",
        per="",
        memory=False,
        smoke=40,
    ),
    cancel(1_000),
    cancel(10_000),
    stop("stop a queue", "plait.amap", "stop amap", Row("gather + Semaphore, n wait", "limits", "stop semaphore")),
    stop("stop a graph", "plait.arun", "stop graph"),
    commands(2),
    commands(8),
    start_up(),
]
