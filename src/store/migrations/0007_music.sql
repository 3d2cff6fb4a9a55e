-- Music on hold that a carrier or a partner brings: 16 bits, little-endian, 8000 samples a second.

CREATE TABLE music (
    owner      TEXT PRIMARY KEY NOT NULL,       -- the partner's id; empty for the carrier's
    samples    BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version    INTEGER NOT NULL
);
