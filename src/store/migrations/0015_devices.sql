-- Desk telephones: which models a customer has, which telephones are whose, and the codes by which people activate them.

CREATE TABLE customer_device_models (
    customer_id TEXT    NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    model       TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (customer_id, model)
) STRICT, WITHOUT ROWID;

-- A user that has a telephone cannot go; one whose telephone was taken away can.
CREATE TABLE devices (
    seq               INTEGER PRIMARY KEY AUTOINCREMENT,
    id                TEXT    NOT NULL UNIQUE,
    customer_id       TEXT    NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    user_id           TEXT    REFERENCES users (id),
    model             TEXT    NOT NULL,
    method            TEXT    NOT NULL,
    mac               TEXT,                   -- 12 digits in lower case
    state             TEXT    NOT NULL,
    state_since       INTEGER NOT NULL,
    site              TEXT,
    sip_username      TEXT    NOT NULL UNIQUE,
    secrets           TEXT    NOT NULL,       -- its passwords as JSON, sealed
    key_id            TEXT    NOT NULL,
    open_until        INTEGER,                -- until then the first who asks gets the file
    opened_at         INTEGER,
    activated_at      INTEGER,
    last_config_fetch INTEGER,
    last_ip           TEXT,
    last_user_agent   TEXT,
    welcome           TEXT    NOT NULL,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    version           INTEGER NOT NULL
) STRICT;
CREATE INDEX devices_of_customer ON devices (customer_id, seq);
CREATE UNIQUE INDEX devices_one_of_user ON devices (user_id)
WHERE state IN ('activated', 'provisioning', 'online', 'offline');
CREATE UNIQUE INDEX devices_one_of_mac ON devices (mac)
WHERE state IN ('activated', 'provisioning', 'online', 'offline');
CREATE UNIQUE INDEX devices_one_waits ON devices (user_id) WHERE state = 'awaiting_code';
CREATE INDEX devices_of_user ON devices (user_id) WHERE user_id IS NOT NULL;

-- Found by the SHA-256; the code itself is kept as long as it can be typed, for administrators are shown it again.
CREATE TABLE activation_codes (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id  TEXT    NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    code_hash  BLOB    NOT NULL,
    code       TEXT,                          -- sealed
    key_id     TEXT,
    state      TEXT    NOT NULL,              -- live, used, void
    issued_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT;
CREATE UNIQUE INDEX activation_codes_live ON activation_codes (device_id) WHERE state = 'live';
CREATE UNIQUE INDEX activation_codes_hash ON activation_codes (code_hash) WHERE state = 'live';
CREATE INDEX activation_codes_of_device ON activation_codes (device_id, seq);

-- Wrong codes, by telephone and by address, for an hour.
CREATE TABLE activation_tries (
    place    TEXT    PRIMARY KEY NOT NULL,
    began_at INTEGER NOT NULL,
    wrong    INTEGER NOT NULL
) STRICT;
CREATE INDEX activation_tries_by_age ON activation_tries (began_at);
