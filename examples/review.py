"""Several checkers vote on a change: the vote ends as soon as it is decided, and a critical check stops everything.

pip install plait
python examples/review.py            # a vote that three of five decide, and a release whose licence check fails
"""

from __future__ import annotations

import asyncio

import plait

STOPPED: list[str] = []


async def opinion(checker: dict[str, object]) -> str:
    """What a checker says, after it has thought for a while; a real one would ask a model."""
    try:
        await asyncio.sleep(float(str(checker["seconds"])))
    except asyncio.CancelledError:
        STOPPED.append(str(checker["name"]))
        raise
    if checker["says"] == "?":
        raise RuntimeError(f"{checker['name']} has no answer")
    return str(checker["says"])


CHECKERS = [
    {"name": "style", "says": "ship", "seconds": 0.01},
    {"name": "types", "says": "wait", "seconds": 0.02},
    {"name": "security", "says": "?", "seconds": 0.03},
    {"name": "tests", "says": "ship", "seconds": 0.04},
    {"name": "docs", "says": "ship", "seconds": 0.05},
    {"name": "a slow one", "says": "wait", "seconds": 60},
    {"name": "a slower one", "says": "wait", "seconds": 90},
]


def vote() -> None:
    """Three that agree are enough; one that fails has no vote, and stops nobody."""
    graph = plait.Graph("vote")
    graph.add("vote", plait.task(opinion).map(CHECKERS, reduce={"quorum": 3}))
    run = plait.start(graph)
    result = run.wait()
    found = result["vote"].value
    print(f"{found['value']}: {', '.join(found['sources'])}; stopped: {', '.join(sorted(STOPPED))}")
    print(run.why("vote[5]").text)
    print(run.why("vote[2]").text)


@plait.task
async def build(part: str) -> str:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print(f"  {part} is stopped")
        raise
    return part


@plait.task(critical=True)
async def licences() -> str:
    await asyncio.sleep(0.05)
    raise RuntimeError("a file without a licence")


@plait.task(allow_failure=True)
async def spelling() -> str:
    raise RuntimeError("teh")


async def tidy() -> str:
    """Comes last, whatever the release came to: by then nobody works in the folder any more."""
    print("  the folder is tidied up")
    return "tidy"


def release() -> None:
    """Spelling may fail; a licence that is missing ends all that runs, and nothing is published. Then somebody tidies up."""
    graph = plait.Graph("release")
    graph.add("spelling", spelling)
    graph.add("licences", licences)
    for part in ("docs", "wheel"):
        graph.add(part, build, args=(part,))
    graph.add("publish", plait.shell(["echo", "published"]), needs=["docs", "wheel"])
    graph.add("tidy", tidy, finally_=True)
    run = plait.start(graph)
    result = run.wait()
    print(f"{result.status}: {result.reason}")
    for key, outcome in result.items():
        print(f"  {key} {outcome.status}")
    print(run.why("publish").text)


if __name__ == "__main__":
    vote()
    release()
