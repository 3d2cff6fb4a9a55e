-- The record whole as JSON, and the columns that lists are filtered by. No foreign keys: records outlive customers.
CREATE TABLE cdrs (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    customer_id TEXT,
    trunk_id    TEXT,
    direction   TEXT    NOT NULL,
    caller      TEXT    NOT NULL,
    called      TEXT    NOT NULL,
    start       INTEGER NOT NULL,
    sip_code    INTEGER,
    refused_by  TEXT,
    record      TEXT    NOT NULL
) STRICT;
CREATE INDEX cdrs_of_customer ON cdrs (customer_id, seq);
CREATE INDEX cdrs_by_start ON cdrs (start);
