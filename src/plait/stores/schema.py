"""The tables of a SQLite store, version by version. A step runs in one transaction with its number: old or new, never half (F05)."""

from __future__ import annotations

APPLICATION = 0x706C6974
"""`PRAGMA application_id`, "plit": tells a store of plait's from any other SQLite file."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE runs (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL,
            status TEXT NOT NULL,
            created_at REAL NOT NULL,
            ended_at REAL,
            generation INTEGER NOT NULL,
            epoch INTEGER NOT NULL,
            owner_pid INTEGER,
            owner_started INTEGER,
            owner_boot TEXT,
            tasks INTEGER NOT NULL,
            summary TEXT NOT NULL,
            forked_from TEXT,
            format INTEGER NOT NULL,
            version TEXT NOT NULL
        )""",
        """CREATE TABLE generations (
            run INTEGER NOT NULL,
            number INTEGER NOT NULL,
            wall REAL NOT NULL,
            crc INTEGER NOT NULL,
            definition BLOB NOT NULL,
            structure BLOB NOT NULL,
            UNIQUE (run, number)
        )""",
        """CREATE TABLE journal (
            run INTEGER NOT NULL,
            generation INTEGER NOT NULL,
            sequence INTEGER NOT NULL,
            crc INTEGER NOT NULL,
            data BLOB NOT NULL,
            PRIMARY KEY (run, generation, sequence)
        ) WITHOUT ROWID""",
        """CREATE TABLE blobs (
            run INTEGER NOT NULL,
            name TEXT NOT NULL,
            PRIMARY KEY (run, name)
        ) WITHOUT ROWID""",
        """CREATE TABLE learned (
            key TEXT NOT NULL PRIMARY KEY,
            seconds REAL NOT NULL,
            number INTEGER NOT NULL,
            children REAL NOT NULL
        ) WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE inbox (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run INTEGER NOT NULL,
            kind TEXT NOT NULL,
            key TEXT,
            data TEXT NOT NULL,
            left_by TEXT,
            left_at REAL NOT NULL,
            verdict TEXT
        )""",
        "CREATE INDEX inbox_of_run ON inbox (run, verdict)",
    ),
)
"""Step i leads from version i to version i + 1."""
