"""Run by a test: the same program in a Jupyter kernel, an interrupt in the middle of a run, and a run after it."""

from __future__ import annotations

import threading
from typing import Any

from jupyter_client.manager import start_new_kernel

PROGRAM = """
import asyncio, plait
@plait.task
async def double(value):
    return 2 * value
@plait.task
def total(values):
    return sum(values)
answer = plait.run(total.bind([double.bind(number) for number in range(10)]))
"""

SLEEPERS = """
ended = []
@plait.task
async def sleeper(name):
    try:
        if name == "b":
            await asyncio.sleep(0.01)
            print("ready", flush=True)
        await asyncio.sleep(600)
    finally:
        ended.append(name)
plait.run([sleeper.bind(name) for name in "ab"])
"""


def main() -> None:
    """Prints what a reader of the notebook would see."""
    manager, client = start_new_kernel(kernel_name="python3")

    def execute(code: str, shown: str = "answer", interrupt: bool = False) -> None:
        def seen(message: dict[str, Any]) -> None:
            if interrupt and message["msg_type"] == "stream" and "ready" in message["content"]["text"]:
                threading.Thread(target=manager.interrupt_kernel).start()

        reply = client.execute_interactive(code, timeout=60, output_hook=seen, user_expressions={"shown": shown})[
            "content"
        ]
        if reply["status"] == "error":
            print(reply["ename"])
        else:
            print(reply["user_expressions"]["shown"]["data"]["text/plain"])

    try:
        execute(PROGRAM)
        execute(SLEEPERS, interrupt=True)
        execute("", shown="sorted(ended)")
        execute("answer = await plait.amap(double, [1, 2])")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    main()
