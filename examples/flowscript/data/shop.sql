CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, city TEXT, amount REAL, status TEXT, line INTEGER);
CREATE TABLE people (mail TEXT PRIMARY KEY, name TEXT NOT NULL, plan TEXT, since INTEGER, tags TEXT);
