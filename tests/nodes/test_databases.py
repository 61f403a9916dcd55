"""Database sources and sinks, against SQLite files."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import plait
from node_runs import arun_node, failure, run_node
from plait.nodes import databases
from plait.nodes.databases import DatabaseSink, DatabaseSource

SCHEMA = """
CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE, n REAL DEFAULT 7, data);
INSERT INTO t VALUES (1, 'a', 1.5, NULL), (2, 'b', 2, 'x');
CREATE TABLE pairs (a, b, c, UNIQUE (a, b));
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.executescript(SCHEMA)
    connection.close()
    return tmp_path


def rows(folder: Path, sql: str = "SELECT * FROM t ORDER BY id") -> list[Any]:
    connection = sqlite3.connect(folder / "x.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def read(folder: Path, query: str, **fields: Any) -> Any:
    return run_node(DatabaseSource, {"connection": "x.db", "query": query, **fields}, folder=folder)


def not_read(folder: Path, query: str, **fields: Any) -> str:
    error = failure(DatabaseSource, {"connection": "x.db", "query": query, **fields}, folder=folder)
    assert not error.retryable
    return str(error)


def write(folder: Path, input: Any, **fields: Any) -> Any:
    return run_node(DatabaseSink, {"connection": "x.db", "table": "t", **fields}, input, folder=folder)


def not_written(folder: Path, input: Any, **fields: Any) -> str:
    return str(failure(DatabaseSink, {"connection": "x.db", "table": "t", **fields}, input, folder=folder))


class TestSource:
    """D8."""

    def test_rows_are_objects(self, folder: Path) -> None:
        assert read(folder, "SELECT * FROM t ORDER BY id") == [
            {"id": 1, "name": "a", "n": 1.5, "data": None},
            {"id": 2, "name": "b", "n": 2.0, "data": "x"},
        ]
        assert read(folder, "SELECT id FROM t WHERE id > 5") == []
        assert read(folder, "SELECT count(*) AS c FROM t;") == [{"c": 2}]
        assert read(folder, "PRAGMA table_info(pairs)")[0]["name"] == "a"
        assert read(folder, "WITH q AS (SELECT 1 AS one) SELECT * FROM q") == [{"one": 1}]

    def test_parameters_are_bound(self, folder: Path) -> None:
        """S27."""
        query = "SELECT id FROM t WHERE name = ?"
        assert read(folder, query, params=["b"]) == [{"id": 2}]
        assert read(folder, query, params='["b"]') == [{"id": 2}]
        assert read(folder, query, params=["b' OR 1=1 --"]) == []
        assert read(folder, "SELECT id FROM t WHERE name = :who AND n < :n", params={"who": "a", "n": 2}) == [{"id": 1}]
        assert read(folder, "SELECT ? AS a, ? AS b, ? AS c", params=[True, [1, {"k": None}], None]) == [
            {"a": 1, "b": '[1,{"k":null}]', "c": None}
        ]
        assert "the query: " in not_read(folder, query, params=[1, 2])
        assert "params: it is a list" in not_read(folder, query, params=3)
        assert "no plain data" in not_read(folder, query, params=[[object()]])
        assert "null character" in not_read(folder, "SELECT '\0'")
        assert "more than 64 bits" in not_read(folder, "SELECT ?", params=[1 << 80])

    @pytest.mark.parametrize(
        "connection",
        ["x.db", "./x.db", "sqlite:x.db", "sqlite:///x.db", "SQLite://x.db", "{}/x.db", "sqlite:///{}/x.db"],
    )
    def test_connections(self, folder: Path, connection: str) -> None:
        fields = {"connection": connection.replace("{}", str(folder)), "query": "SELECT count(*) AS c FROM t"}
        assert run_node(DatabaseSource, fields, folder=folder) == [{"c": 2}]

    def test_other_connections(self, folder: Path) -> None:
        def source(connection: str) -> Any:
            return {"connection": connection, "query": "SELECT 1 AS a"}

        assert run_node(DatabaseSource, source(":memory:"), folder=folder) == [{"a": 1}]
        for connection, said in (
            ("postgres://user:pass@host/db", "the connection postgres:... is none of SQLite's"),
            ("file:x.db?mode=rwc", "is none of SQLite's"),
            ("none.db", "there is no file 'none.db'"),
            ("notes.txt", "file is not a database"),
        ):
            (folder / "notes.txt").write_text("hello " * 1000)
            assert said in str(failure(DatabaseSource, source(connection), folder=folder))
        assert not (folder / "none.db").exists()
        (folder / "100% #1?.db").write_bytes((folder / "x.db").read_bytes())
        assert run_node(DatabaseSource, source("100% #1?.db"), folder=folder) == [{"a": 1}]

    @pytest.mark.parametrize(
        "query",
        [
            "INSERT INTO t (id) VALUES (9)",
            "INSERT INTO t (id) VALUES (9) RETURNING id",
            "DELETE FROM t",
            "DROP TABLE t",
            "CREATE TABLE u (a)",
            "CREATE TEMP TABLE u (a)",
            "VACUUM INTO '{}/other.db'",
            "ATTACH '{}/other.db' AS o",
            "PRAGMA query_only = OFF",
            "PRAGMA journal_mode = WAL",
            "PRAGMA writable_schema = ON",
            "SELECT load_extension('x.so')",
            "SELECT 1; DELETE FROM t",
            "BEGIN",
            "",
        ],
    )
    def test_it_reads_and_does_nothing_else(self, folder: Path, query: str) -> None:
        before = rows(folder)
        assert not_read(folder, query.replace("{}", str(folder)))
        assert rows(folder) == before
        assert {each.name for each in folder.iterdir()} == {"x.db"}

    def test_what_is_no_plain_data(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "the column 'b' holds bytes" in not_read(folder, "SELECT x'00ff' AS b")
        assert "two columns named 'id'" in not_read(folder, "SELECT a.id, b.id FROM t a, t b")
        assert "no such table: absent" in not_read(folder, "SELECT * FROM absent")
        monkeypatch.setattr(databases, "MOST_ROWS", 1)
        assert "more than 1 rows: say LIMIT" in not_read(folder, "SELECT * FROM t")


class TestSink:
    """D8."""

    def test_rows_are_inserted(self, folder: Path) -> None:
        assert write(folder, [{"id": 3, "name": "c"}, {"data": {"k": [True]}}, {"data": False}]) == {
            "rows": 3,
            "batches": 1,
        }
        assert rows(folder)[2:] == [(3, "c", 7.0, None), (4, None, 7.0, '{"k":[true]}'), (5, None, 7.0, 0)]
        assert write(folder, {"id": 9, "n": None}) == {"rows": 1, "batches": 1}
        assert rows(folder)[-1] == (9, None, None, None)
        assert write(folder, []) == write(folder, None) == {"rows": 0, "batches": 0}

    def test_upsert_changes_what_is_there(self, folder: Path) -> None:
        changed = [{"id": 2, "name": "B"}, {"id": 3, "name": "c"}]
        assert write(folder, changed, operation="upsert", conflictColumns="id") == {"rows": 2, "batches": 1}
        assert rows(folder) == [(1, "a", 1.5, None), (2, "B", 2.0, "x"), (3, "c", 7.0, None)]
        assert write(folder, {"id": 3}, operation="upsert", conflictColumns=["id"]) == {"rows": 1, "batches": 1}
        pair = {"table": "pairs", "operation": "upsert", "conflictColumns": "a, b"}
        write(folder, [{"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 2, "c": 2}, {"a": 1, "b": 1, "c": 3}], **pair)
        assert rows(folder, "SELECT * FROM pairs") == [(1, 1, 3), (1, 2, 2)]

    def test_update_changes_nothing_else(self, folder: Path) -> None:
        changed = [{"id": 1, "n": 9}, {"id": 77, "n": 9}]
        assert write(folder, changed, operation="update", conflictColumns='["id"]') == {"rows": 1, "batches": 1}
        assert rows(folder) == [(1, "a", 9.0, None), (2, "b", 2.0, "x")]
        write(folder, {"data": None, "n": 5}, operation="update", conflictColumns="data")
        assert [each[2] for each in rows(folder)] == [5.0, 2.0]

    def test_a_name_that_is_no_column_is_no_text(self, folder: Path) -> None:
        """S27: SQLite would take "ghost" for 'ghost', and the condition for true."""
        error = not_written(folder, {"ghost": "ghost", "n": 0}, operation="update", conflictColumns="ghost")
        assert "no such column: t.ghost" in error
        assert [each[2] for each in rows(folder)] == [1.5, 2.0]

    def test_each_batch_is_a_transaction(self, folder: Path) -> None:
        some: list[dict[str, Any]] = [{"id": n} for n in range(10, 20)]
        assert write(folder, some, batch=4) == {"rows": 10, "batches": 3}
        some = [{"id": n} for n in (30, 31, 32, 33, 34, 1)]
        error = not_written(folder, some, batch="2")
        assert error == (
            "row 6 (batch 3): UNIQUE constraint failed: t.id; its batch was undone, 4 rows before it are written"
        )
        assert [each[0] for each in rows(folder) if each[0] >= 30] == [30, 31, 32, 33]
        assert "row 2 (batch 1)" in not_written(folder, [{"id": 50}, {"id": 1}])
        assert "nothing is written" in not_written(folder, [{"id": 50}, {"id": 1}])

    @pytest.mark.parametrize(
        ("input", "fields", "said"),
        [
            ({"a": 1}, {"table": "t; DROP TABLE t"}, "table: 't; DROP TABLE t' cannot name a table"),
            ({"a": 1}, {"table": 't"x'}, "cannot name a table"),
            ({"a": 1}, {"table": "a.b.c"}, "is no table"),
            ({"a": 1}, {"table": "absent"}, "no such table: absent"),
            ({"a) VALUES (1); --": 1}, {}, "row 1: 'a) VALUES (1); --' cannot name a table or column"),
            ({"x": 1}, {}, "has no column named x"),
            ([{"id": 7}, 3], {}, "row 2 is no object"),
            ([{"id": 7}, {}], {}, "row 2 has no columns"),
            ({"id": 7, "ID": 8}, {}, "row 1 has 'id' twice"),
            ({"id": 7}, {"operation": "delete"}, "operation: it is one of insert, upsert, update"),
            ({"id": 7}, {"operation": "upsert"}, "upsert needs conflictColumns"),
            ({"id": 7}, {"operation": "update"}, "update needs conflictColumns"),
            ({"id": 7}, {"operation": "update", "conflictColumns": "id"}, "row 1 has nothing to set but id"),
            ({"n": 7}, {"operation": "upsert", "conflictColumns": "id"}, "row 1 has no 'id'"),
            ({"id": 7}, {"operation": "upsert", "conflictColumns": "n"}, "row 1 has no 'n'"),
            ({"n": 7}, {"operation": "upsert", "conflictColumns": "n"}, "ON CONFLICT clause does not match"),
            ({"n": 7}, {"operation": "upsert", "conflictColumns": 'n" --'}, "conflictColumns: "),
            ({"id": 7}, {"batch": 0}, "batch: it is a number of rows"),
            ({"id": 1 << 64}, {}, "row 1 (batch 1): a number has more than 64 bits"),
            ({"name": "\ud800"}, {}, "row 1 (batch 1): a text holds half a character"),
            ({"id": 7}, {"connection": ":memory:"}, "no such table"),
            ({"id": 7}, {"connection": "none.db"}, "there is no file"),
        ],
    )
    def test_what_cannot_be_written(self, folder: Path, input: Any, fields: dict[str, Any], said: str) -> None:
        """S27: names are checked, and quoted."""
        before = rows(folder)
        assert said in not_written(folder, input, **fields)
        assert rows(folder) == before

    def test_what_validation_says(self) -> None:
        assert DatabaseSink.check({"operation": "upsert"}, frozenset(("operation",)))[0][0] == "conflictColumns"
        assert DatabaseSink.check({"operation": "update"}, frozenset(("operation", "conflictColumns"))) == []
        assert DatabaseSink.check({"operation": "insert"}, frozenset()) == []
        assert "has no `input`" in str(failure(DatabaseSink, {"connection": "x.db", "table": "t"}))

    def test_it_waits_for_others_who_write(self, folder: Path) -> None:
        other = sqlite3.connect(folder / "x.db", isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        later = threading.Timer(0.2, lambda: other.execute("COMMIT"))
        later.start()
        try:
            assert write(folder, {"id": 5}) == {"rows": 1, "batches": 1}
        finally:
            later.join()
            other.close()

    def test_but_not_for_ever(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(databases, "BUSY_S", 0.05)
        other = sqlite3.connect(folder / "x.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        error = failure(DatabaseSink, {"connection": "x.db", "table": "t"}, {"id": 5}, folder=folder)
        other.close()
        assert "others held the database for more than 0.05 s" in str(error)
        assert error.retryable


class TestCancelling:
    """D8: timeouts end it for real."""

    def cancelled(self, made: Any, fields: dict[str, Any], input: Any, folder: Path) -> float:
        """Runs a node that would take long, and cancels it: how long that took."""

        async def main() -> float:
            task = asyncio.create_task(arun_node(made, fields, input, folder=folder))
            await asyncio.wait((task,), timeout=0.3)
            assert not task.done()
            began = time.monotonic()
            task.cancel()
            await asyncio.wait((task,))
            assert task.cancelled()
            assert [each for each in threading.enumerate() if each.name == "plait-node"] == []
            return time.monotonic() - began

        return asyncio.run(main())

    def test_a_query_without_end(self, folder: Path) -> None:
        query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS c FROM n"
        assert self.cancelled(DatabaseSource, {"connection": "x.db", "query": query}, None, folder) < 2

    def test_a_task_that_times_out(self, folder: Path) -> None:
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS c FROM n"

        @plait.task(timeout=0.3)
        async def node() -> Any:
            return await arun_node(DatabaseSource, {"connection": "x.db", "query": endless}, folder=folder)

        graph = plait.Graph("slow")
        graph.add("query", node.bind())
        assert plait.run(graph, raise_on_failure=False)["query"].status == "timed_out"
        assert [each for each in threading.enumerate() if each.name == "plait-node"] == []

    def test_waiting_for_another(self, folder: Path) -> None:
        other = sqlite3.connect(folder / "x.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert self.cancelled(DatabaseSink, {"connection": "x.db", "table": "t"}, {"id": 5}, folder) < 2
        other.execute("COMMIT")
        other.close()
        assert len(rows(folder)) == 2

    def test_a_batch_that_is_not_done_is_undone(self, folder: Path) -> None:
        connection = sqlite3.connect(folder / "x.db")
        connection.executescript(
            "CREATE TRIGGER slow AFTER INSERT ON pairs BEGIN SELECT count(*) FROM"
            " (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n); END;"
        )
        connection.close()
        fields = {"connection": "x.db", "table": "pairs"}
        assert self.cancelled(DatabaseSink, fields, [{"a": 1}], folder) < 2
        assert rows(folder, "SELECT * FROM pairs") == []


def test_json_of_values_is_read_again(folder: Path) -> None:
    value = {"ä": [1, 2.5, None, "x"]}
    write(folder, {"id": 5, "data": value})
    assert json.loads(read(folder, "SELECT data FROM t WHERE id = 5")[0]["data"]) == value
