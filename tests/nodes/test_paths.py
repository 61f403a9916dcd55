"""Where the paths of a workflow file may lead."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from node_runs import failure, run_node
from plait.errors import NodeError
from plait.nodes import paths
from plait.nodes.databases import DatabaseSink, DatabaseSource
from plait.nodes.files import FileSink, FileSource


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory, with things beside it that are nobody's business."""
    (tmp_path / "proj" / "sub").mkdir(parents=True)
    (tmp_path / "proj-evil").mkdir()
    for name in ("secret.txt", "proj-evil/secret.txt", "proj/in.txt", "proj/sub/deep.txt"):
        (tmp_path / name).write_text(f"canary {name}")
    return tmp_path / "proj"


OUT = [
    "../secret.txt", "sub/../../secret.txt", "{top}/secret.txt", "{top}/proj-evil/secret.txt", "../proj-evil/secret.txt",
    "%2e%2e/secret.txt", "%2e%2e%2fsecret.txt", "..%2Fsecret.txt", "%252e%252e%252fsecret.txt", "..\\secret.txt",
    "sub\\..\\..\\secret.txt", "..%5Csecret.txt", "/etc/passwd", "/proc/self/cwd/in.txt", "/proc/self/root/etc/passwd",
    "~/x", "~root/x", "a\0b", "", " ", "x" * 5000, "\ud800",
]  # fmt: skip


class TestOut:
    """D11, S19."""

    @pytest.mark.parametrize("given", OUT)
    def test_a_path_that_leads_out_is_refused(self, folder: Path, given: str) -> None:
        given = given.replace("{top}", str(folder.parent))
        before = sorted(folder.parent.rglob("*"))
        for made, fields in (
            (FileSource, {"path": given}),
            (FileSink, {"path": given}),
            (DatabaseSource, {"connection": given, "query": "SELECT 1"}),
            (DatabaseSink, {"connection": f"sqlite:///{given}", "table": "t"}),
        ):
            error = failure(made, fields, [{"a": 1}], folder=folder)
            assert not error.retryable
            assert "canary" not in str(error)
        assert sorted(folder.parent.rglob("*")) == before
        assert (folder.parent / "secret.txt").read_text() == "canary secret.txt"

    def test_the_error_names_the_path_and_what_to_do(self, folder: Path) -> None:
        error = str(failure(FileSource, {"path": "../secret.txt"}, folder=folder))
        assert error == (
            "the path '../secret.txt' leads out of the working directory: --allow-path DIR allows another folder"
        )

    def test_what_stays_inside_is_fine(self, folder: Path) -> None:
        (folder / "100%.txt").write_text("a")
        (folder / "%41.txt").write_text("b")
        (folder / "..name").write_text("c")
        (folder / "~").mkdir()
        (folder / "~" / "x").write_text("d")
        for given, text in {
            "./in.txt": "canary proj/in.txt",
            "sub/../in.txt": "canary proj/in.txt",
            f"{folder}/sub/deep.txt": "canary proj/sub/deep.txt",
            "100%.txt": "a",
            "%41.txt": "b",
            "..name": "c",
            "./~/x": "d",
        }.items():
            assert run_node(FileSource, {"path": given, "format": "text"}, folder=folder) == text

    def test_a_folder_that_is_allowed(self, folder: Path) -> None:
        top = folder.parent
        allowed = (top / "proj-evil",)
        for given in ("../proj-evil/secret.txt", f"{top}/proj-evil/secret.txt"):
            assert (
                run_node(FileSource, {"path": given}, folder=folder, allowed=allowed) == "canary proj-evil/secret.txt"
            )
        assert run_node(FileSink, {"path": f"{top}/proj-evil/new/x"}, "a", folder=folder, allowed=allowed)["bytes"] == 1
        failure(FileSource, {"path": "../secret.txt"}, folder=folder, allowed=allowed)
        failure(FileSource, {"path": "../proj-evil/../secret.txt"}, folder=folder, allowed=allowed)

    def test_a_working_directory_behind_a_link(self, folder: Path) -> None:
        link = folder.parent / "link"
        link.symlink_to(folder)
        for given in ("in.txt", f"{link}/in.txt", f"{folder}/in.txt"):
            assert run_node(FileSource, {"path": given}, folder=link) == "canary proj/in.txt"


class TestLinks:
    """D11, S20."""

    def test_a_link_that_leads_out_is_refused(self, folder: Path) -> None:
        top = folder.parent
        (folder / "file").symlink_to(top / "secret.txt")
        (folder / "dir").symlink_to(top)
        (folder / "root").symlink_to("/")
        (folder / "hanging").symlink_to(top / "new.txt")
        (folder / "loop").symlink_to(folder / "loop")
        for given in ("file", "dir/secret.txt", f"root{top}/secret.txt", "hanging", "loop", "dir/proj/../secret.txt"):
            failure(FileSource, {"path": given}, folder=folder)
            failure(FileSink, {"path": given}, "changed", folder=folder)
        assert (top / "secret.txt").read_text() == "canary secret.txt"
        assert not (top / "new.txt").exists()

    def test_one_that_stays_inside_is_followed(self, folder: Path) -> None:
        (folder / "link").symlink_to("sub/deep.txt")
        (folder / "there").symlink_to("sub")
        assert run_node(FileSource, {"path": "link"}, folder=folder) == "canary proj/sub/deep.txt"
        assert run_node(FileSource, {"path": "there/deep.txt"}, folder=folder) == "canary proj/sub/deep.txt"
        run_node(FileSink, {"path": "link"}, "changed", folder=folder)
        assert (folder / "link").is_symlink()
        assert (folder / "sub" / "deep.txt").read_text() == "changed"

    @pytest.mark.parametrize("planted", ["sub", "sub/deep.txt"])
    def test_one_that_is_planted_after_the_look_leads_nowhere(
        self, folder: Path, planted: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the look at a path and its opening."""
        top = folder.parent
        (top / "deep.txt").write_text("canary outside")

        def swap(where: paths.Place) -> None:
            os.rename(folder / planted, folder / "moved")
            (folder / planted).symlink_to(top if planted == "sub" else top / "deep.txt")

        look = paths.place

        def look_and_swap(*args: Any) -> paths.Place:
            found = look(*args)
            swap(found)
            return found

        monkeypatch.setattr("plait.nodes.files.place", look_and_swap)
        error = failure(FileSource, {"path": "sub/deep.txt"}, folder=folder)
        assert "leads out of the working directory" in str(error)
        os.unlink(folder / planted)
        os.rename(folder / "moved", folder / planted)
        error = failure(FileSink, {"path": "sub/deep.txt"}, "changed", folder=folder)
        assert "leads out of the working directory" in str(error)
        assert (top / "deep.txt").read_text() == "canary outside"

    def test_a_link_beside_a_database_is_not_followed(self, folder: Path) -> None:
        import sqlite3

        with sqlite3.connect(folder / "x.db") as connection:
            connection.execute("CREATE TABLE t (a)")
        connection.close()
        (folder / "x.db-journal").symlink_to(folder.parent / "secret.txt")
        try:
            run_node(DatabaseSink, {"connection": "x.db", "table": "t"}, {"a": 1}, folder=folder)
        except NodeError:
            pass  # SQLite may refuse it, too
        assert (folder.parent / "secret.txt").read_text() == "canary secret.txt"


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("any")
    (top / "proj" / "sub").mkdir(parents=True)
    for name in ("x", "proj/x", "proj/sub/x"):
        (top / name).write_text("inside" if "/" in name else "canary")
    for name, target in {"in": "sub", "up": "..", "out": str(top), "root": "/", "sub/back": "../.."}.items():
        (top / "proj" / name).symlink_to(target)
    return top


class TestAnyPath:
    """D11, S19, S20."""

    @examples(st.lists(st.sampled_from(
        ["x", "sub", "in", "up", "out", "root", "back", "proj", ".", "..", "%2e%2e", "%252e.", "/", "//", "\\", "%2f", "%5c", "TOP", "~"]
    ), min_size=1, max_size=8))  # fmt: skip
    def test_it_leads_inside_or_nowhere(self, top: Path, parts: list[str]) -> None:
        path = ""
        for part in parts:
            glue = "" if not path or not (path[-1].isalnum() and part[0].isalnum()) else "/"
            path += glue + part
        path = path.replace("TOP", str(top))
        try:
            where = paths.place(path, top / "proj")
            text = paths.read_bytes(where, 100, lambda: None)
        except NodeError:
            return
        assert text == b"inside"


class TestOthers:
    def test_what_is_no_file(self, folder: Path) -> None:
        os.mkfifo(folder / "pipe")
        assert "is no file" in str(failure(FileSource, {"path": "pipe"}, folder=folder))
        assert "is no file" in str(failure(FileSink, {"path": "pipe"}, "a", folder=folder))
        for given in ("sub", ".", "in.txt/x", "new/"):
            failure(FileSource, {"path": given}, folder=folder)
            failure(FileSink, {"path": given}, "a", folder=folder)
        assert "there is no file 'none'" in str(failure(FileSource, {"path": "none"}, folder=folder))
