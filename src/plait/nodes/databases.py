"""`database`: rows out of SQLite files, and into them."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

from plait import points
from plait.calls.shell import strict_json
from plait.errors import ExpressionError, NodeError
from plait.expressions.values import encoded
from plait.nodes.base import At, Field, FieldKind, Node, one_of
from plait.nodes.items import listed
from plait.nodes.paths import Place, open_file, place
from plait.nodes.stopping import Stop, in_thread

MOST_ROWS = 1_000_000
"""That a query gives."""

MOST_BYTES = 64 * 1024 * 1024
"""Of one value."""

BUSY_S, SLICE_S = 60.0, 0.02
"""So long somebody else may write to the file; how often we look whether they are done."""

STEPS = 10_000
"""Of SQLite's machine, between two looks at whether to stop."""

_READABLE = frozenset(
    ("table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list", "user_version")
)  # fmt: skip
_REFUSED = frozenset(
    (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT)
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

CONNECTION = Field(required=True, section="config")


def _parameters(value: Any) -> list[Any] | dict[str, Any]:
    if isinstance(value, str):
        value = strict_json(value) if value.strip() else []
    if not isinstance(value, (list, tuple, dict)):
        raise ValueError(f"it is a list, or an object for named parameters, not {value!r:.60}")
    return dict(value) if isinstance(value, dict) else list(value)


def _names(value: Any) -> list[str]:
    if isinstance(value, str):
        value = strict_json(value) if value.strip().startswith("[") else value.split(",")
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"it is a list of columns, not {value!r:.60}")
    return [_identifier(each.strip()) for each in value if each.strip()]


def _batch(value: Any) -> int:
    try:
        number = int(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else 0
    except ValueError:
        number = 0
    if not 1 <= number <= 1_000_000:
        raise ValueError(f"it is a number of rows, from 1 to 1,000,000, not {value!r:.60}")
    return number


def _identifier(name: str) -> str:
    if len(name) > 200 or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r:.60} cannot name a table or column: letters, digits and _, no digit first")
    return name


def _table(value: str) -> str:
    parts = str(value).split(".")
    if len(parts) > 2:
        raise ValueError(f"{value!r:.60} is no table")
    return ".".join(map(_identifier, parts))


class DatabaseSource(Node):
    """The rows that one SQL statement gives. It only reads: the file is opened so."""

    fields = {
        "connection": CONNECTION,
        "query": Field(required=True, section="config"),
        "params": Field(FieldKind.JSON, default=(), read=_parameters, section="config"),
    }

    async def run(self, given: Mapping[str, Any], at: At) -> list[dict[str, Any]]:
        """A list of objects, with the columns as keys.

        Raises:
            NodeError: for a file that cannot be opened, SQL that is wrong or does more than read, and rows that are no plain data.
        """
        where = _place(given["connection"], at)

        def work(stop: Stop) -> list[dict[str, Any]]:
            with _told("the query"), _opened(where, stop, "ro") as connection:
                connection.execute("PRAGMA query_only = ON")
                connection.set_authorizer(_reading_only)
                bound = _bound(given["params"])
                return _rows(_waiting(connection, stop, given["query"], bound), stop)

        return await in_thread(work)


class DatabaseSink(Node):
    """The objects of `input`, written to a table: a transaction for each batch of them.

    A row sets the columns that it has: others have their default, or stay as they are. Lists and objects are stored as JSON text.
    """

    fields = {
        "connection": CONNECTION,
        "table": Field(required=True, read=_table, section="config"),
        "operation": Field(default="insert", read=one_of("insert", "upsert", "update"), section="config"),
        "conflictColumns": Field(
            FieldKind.VALUE,
            default=(),
            read=_names,
            section="config",
            aliases=("conflict-columns", "conflict_columns"),
        ),
        "batch": Field(default=100, read=_batch, section="config", aliases=("batchSize", "batch-size", "batch_size")),
    }

    @classmethod
    def check(cls, said: Mapping[str, Any], given: frozenset[str]) -> list[tuple[str, str]]:
        """Columns that say which row is meant are needed where one may be there already."""
        if said.get("operation") in ("upsert", "update") and "conflictColumns" not in given:
            return [
                ("conflictColumns", f"{said['operation']} needs conflictColumns: those that say which row is meant")
            ]
        return []

    async def run(self, given: Mapping[str, Any], at: At) -> dict[str, int]:
        """`{rows, batches}`: rows that were written, and transactions.

        Raises:
            NodeError: for a row that cannot be written, with its number: nothing of its batch is, what was before stays.
        """
        if not at.has_input:
            raise NodeError(f"{at.node!r} has no `input`, which is what it would write")
        operation, keys = given["operation"], tuple(given["conflictColumns"])
        if operation != "insert" and not keys:
            raise NodeError(f"{operation} needs conflictColumns: those that say which row is meant")
        where = _place(given["connection"], at)

        def work(stop: Stop) -> dict[str, int]:
            rows = [_row(each, number, operation, keys) for number, each in enumerate(listed(at.input), 1)]
            with _told("the database"), _opened(where, stop, "rw") as connection:
                connection.set_authorizer(_no_other_file)
                return _written(connection, stop, rows, given["table"], operation, keys, given["batch"])

        return await in_thread(work)


# -- connections


def _place(connection: str, at: At) -> Place | None:
    """Where the file is; None for a database in memory."""
    path = connection.strip()
    if re.match(r"sqlite3?:", path, re.IGNORECASE):
        path = path.partition(":")[2]
        path = path[3:] if path.startswith("///") else path.removeprefix("//")
    elif re.match(r"[A-Za-z][A-Za-z0-9+.-]+:(//)?", path):
        raise NodeError(f"the connection {path.partition(':')[0]}:... is none of SQLite's: a path, or sqlite:///path")
    if path == ":memory:":
        return None
    return place(path, at.folder, at.allowed)


@contextmanager
def _opened(where: Place | None, stop: Stop, mode: str) -> Iterator[sqlite3.Connection]:
    """A connection that ends what it does when it is told to stop. Nothing is committed but by a statement that says so."""
    identity = _identity(where)
    target = ":memory:" if where is None else f"file:{quote(os.fsencode(where.path))}?mode={mode}"
    # Of another thread there is `interrupt` alone, which may come at any time.
    connection = sqlite3.connect(
        target, timeout=0, isolation_level=None, check_same_thread=False, uri=where is not None
    )
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
        connection.set_progress_handler(lambda: stop.is_set, STEPS)
        stop.also(lambda: _interrupt(connection))
        _waiting(connection, stop, "PRAGMA trusted_schema = OFF")
        _waiting(connection, stop, "SELECT count(*) FROM sqlite_master")  # opens it in fact
        if _identity(where) != identity:
            raise NodeError(f"{'' if where is None else where.given!r:.200} became another file while it was opened")
        yield connection
    finally:
        stop.also(None)
        connection.close()


def _identity(where: Place | None) -> tuple[int, int] | None:
    """Which file it is, found without following links."""
    if where is None:
        return None
    handle = open_file(where)
    try:
        there = os.fstat(handle)
    finally:
        os.close(handle)
    return there.st_dev, there.st_ino


def _interrupt(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):  # it was closed meanwhile
        connection.interrupt()


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Faults of SQLite's, as errors of the node."""
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning, OverflowError, ValueError, ExpressionError) as error:
        raise NodeError(f"{what}: {_why(error)}") from None


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "a text holds half a character, which UTF-8 cannot say"
    if isinstance(error, OverflowError):
        return "a number has more than 64 bits"
    return str(error)


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _waiting(connection: sqlite3.Connection, stop: Stop, sql: str, values: Any = ()) -> sqlite3.Cursor:
    """Executes a statement, once those who hold the file are done.

    SQLite's own waiting would hear of no cancellation.
    """
    waited = 0.0
    while True:
        stop.look()
        try:
            return connection.execute(sql, values)
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
        if waited >= BUSY_S:
            raise NodeError(f"others held the database for more than {BUSY_S:g} s", retryable=True)
        stop.wait(SLICE_S)
        waited += SLICE_S


def _reading_only(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Other files are out of reach, also those that VACUUM INTO would make; that nothing is written, the connection sees to."""
    if action in _REFUSED or (action == sqlite3.SQLITE_PRAGMA and str(first).lower() not in _READABLE):
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and str(second).lower() == "load_extension":
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _no_other_file(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_DENY if action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH) else sqlite3.SQLITE_OK


# -- reading


def _rows(cursor: sqlite3.Cursor, stop: Stop) -> list[dict[str, Any]]:
    if cursor.description is None:
        raise NodeError("the query gives no rows: a source reads, with SELECT")
    names = [each[0] for each in cursor.description]
    for name in names:
        if names.count(name) > 1:
            raise NodeError(f"the query gives two columns named {name!r}: give one another name, with AS")
    found: list[dict[str, Any]] = []
    while some := cursor.fetchmany(1000):
        stop.look()
        for row in some:
            for name, value in zip(names, row, strict=True):
                if isinstance(value, bytes):
                    raise NodeError(f"the column {name!r} holds bytes, which are no plain data: select hex({name})")
            found.append(dict(zip(names, row, strict=True)))
        if len(found) > MOST_ROWS:
            raise NodeError(f"the query gives more than {MOST_ROWS:,} rows: say LIMIT")
    return found


def _bound(values: list[Any] | dict[str, Any]) -> list[Any] | dict[str, Any]:
    if isinstance(values, dict):
        return {name: _value(each) for name, each in values.items()}
    return [_value(each) for each in values]


def _value(value: Any) -> Any:
    """What SQLite stores of a value."""
    if isinstance(value, bool):
        return int(value)
    return encoded(value) if isinstance(value, (list, tuple, dict)) else value


# -- writing


def _row(row: Any, number: int, operation: str, keys: Sequence[str]) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise NodeError(f"row {number} is no object: a table needs an object, or a list of objects")
    try:
        found = {_identifier(str(name)): _value(value) for name, value in row.items()}
    except (ValueError, ExpressionError) as error:
        raise NodeError(f"row {number}: {error}") from None
    folded = [name.lower() for name in found]
    twice = next((name for name in folded if folded.count(name) > 1), None)
    if twice is not None:
        raise NodeError(f"row {number} has {twice!r} twice: columns know no upper and lower case")
    missing = next((name for name in keys if name not in found), None)
    if missing is not None:
        raise NodeError(f"row {number} has no {missing!r}, which says which row is meant (conflictColumns)")
    if not found:
        raise NodeError(f"row {number} has no columns")
    if operation == "update" and len(found) == len(keys):
        raise NodeError(f"row {number} has nothing to set but {', '.join(keys)}, which say which row is meant")
    return found


def _statement(table: str, operation: str, columns: Sequence[str], keys: Sequence[str]) -> tuple[str, list[str]]:
    """What writes a row with these columns, and their order in it."""
    into = ".".join(map(_quoted, table.split(".")))
    others = [name for name in columns if name not in keys]
    if operation == "update":
        # With its table: SQLite takes a quoted name that is no column for text.
        own = _quoted(table.split(".")[-1])
        changes = ", ".join(f"{_quoted(name)} = ?" for name in others)
        chosen = " AND ".join(f"{own}.{_quoted(name)} IS ?" for name in keys)
        return f"UPDATE {into} SET {changes} WHERE {chosen}", [*others, *keys]
    sql = f"INSERT INTO {into} ({', '.join(map(_quoted, columns))}) VALUES ({', '.join('?' * len(columns))})"
    if operation == "upsert":
        # Where there is nothing else to set the row is there as it is to be, and counts.
        changes = ", ".join(f"{_quoted(name)} = excluded.{_quoted(name)}" for name in others or keys[:1])
        sql += f" ON CONFLICT ({', '.join(map(_quoted, keys))}) DO UPDATE SET {changes}"
    return sql, list(columns)


def _quoted(name: str) -> str:
    return f'"{name}"'


def _written(
    connection: sqlite3.Connection,
    stop: Stop,
    rows: list[dict[str, Any]],
    table: str,
    operation: str,
    keys: Sequence[str],
    size: int,
) -> dict[str, int]:
    statements: dict[tuple[str, ...], tuple[str, list[str]]] = {}
    count = batches = 0
    for start in range(0, len(rows), size):
        _waiting(connection, stop, "BEGIN IMMEDIATE")
        number = start + 1
        try:
            for row in rows[start : start + size]:
                columns = tuple(row)
                if columns not in statements:
                    statements[columns] = _statement(table, operation, columns, keys)
                sql, order = statements[columns]
                count += connection.execute(sql, [row[name] for name in order]).rowcount
                number += 1
                stop.look()
            points.reach("commit rows")
            _waiting(connection, stop, "COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            if isinstance(error, (sqlite3.Error, OverflowError, UnicodeError)):
                stop.look()
                done = f"{start} rows before it are" if start else "nothing is"
                row_or_end = f"row {number}" if number <= min(start + size, len(rows)) else "the commit"
                raise NodeError(
                    f"{row_or_end} (batch {batches + 1}): {_why(error)}; its batch was undone, {done} written"
                ) from None
            raise
        batches += 1
    return {"rows": count, "batches": batches}
