"""Plain functions that threads and worker processes run. They import nothing: each worker would wait for it."""


def same(item: int) -> int:
    """Nothing."""
    return item


def short(item: int) -> int:
    """Some 50 µs of CPU."""
    return _burnt(item, 1_400)


def long(item: int) -> int:
    """Some 5 ms of CPU."""
    return _burnt(item, 118_000)


def _burnt(item: int, times: int) -> int:
    found = 0
    for each in range(times):
        found += each * each
    return item
