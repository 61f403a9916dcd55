"""Whole programs that run /bin/true a number of times; each checks every exit code.

    python benchmarks/programs.py NAME SLOTS TIMES

Each imports only what it needs: its start is part of the work. plait's command line stands in `commands.py`.
"""

import os
import sys


def spawn(slots: int, times: int) -> int:
    """posix_spawn and wait: what the kernel costs."""
    running: set[int] = set()
    started = well = 0
    while started < times or running:
        while started < times and len(running) < slots:
            running.add(os.posix_spawn("/bin/true", ["/bin/true"], os.environ))
            started += 1
        pid, status = os.wait()
        running.discard(pid)
        well += not status
    return well


def captured_sh(slots: int, times: int) -> int:
    """`captured`, through the shell."""
    return captured(slots, times, ["/bin/sh", "-c", "/bin/true"])


def captured(slots: int, times: int, argv: list[str] = ["/bin/true"]) -> int:  # noqa: B006 - nobody changes it
    """The same with standard output and errors of each read through two pipes."""
    import select

    poll = select.epoll()
    ends: dict[int, list[int]] = {}  # by file: pid, open pipes
    started = running = well = 0
    output = b""
    while started < times or running:
        while started < times and running < slots:
            (out, out_end), (err, err_end) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
            actions = [(os.POSIX_SPAWN_DUP2, out_end, 1), (os.POSIX_SPAWN_DUP2, err_end, 2)]
            pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions)
            os.close(out_end)
            os.close(err_end)
            ends[out] = ends[err] = [pid, 2]
            poll.register(out, select.EPOLLIN)
            poll.register(err, select.EPOLLIN)
            started += 1
            running += 1
        for file, _ in poll.poll():
            read = os.read(file, 65536)
            if read:
                output += read
                continue
            poll.unregister(file)
            os.close(file)
            command = ends.pop(file)
            command[1] -= 1
            if not command[1]:
                well += not os.waitpid(command[0], 0)[1]
                running -= 1
    return well


def with_asyncio(slots: int, times: int) -> int:
    """asyncio's own subprocesses and a semaphore: what people write."""
    import asyncio
    from subprocess import DEVNULL, PIPE

    async def main() -> int:
        semaphore = asyncio.Semaphore(slots)

        async def one() -> bool:
            async with semaphore:
                command = await asyncio.create_subprocess_exec("/bin/true", stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
                await command.communicate()
                return command.returncode == 0

        return sum(await asyncio.gather(*(one() for _ in range(times))))

    return asyncio.run(main())


def with_plait(slots: int, times: int) -> int:
    """plait as a library: the value of a command is what it prints; one that fails would raise here."""
    import plait

    return len(plait.run([plait.shell(["/bin/true"]) for _ in range(times)], max_concurrency=slots))


def with_plait_sh(slots: int, times: int) -> int:
    """The same through the shell, as ninja does it."""
    import plait

    return len(plait.run([plait.shell("/bin/true") for _ in range(times)], max_concurrency=slots))


PROGRAMS = {
    "spawn": spawn,
    "captured": captured,
    "captured sh": captured_sh,
    "asyncio": with_asyncio,
    "plait": with_plait,
    "plait sh": with_plait_sh,
}

if __name__ == "__main__":
    name, slots, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    well = PROGRAMS[name](slots, times)
    sys.exit(None if well == times else f"{well} of {times} did well")
