-- Numbers that serve when a Sync says so, the users that have them, and Sync itself.

CREATE TABLE users (
    seq                INTEGER PRIMARY KEY AUTOINCREMENT,
    id                 TEXT    NOT NULL UNIQUE,
    customer_id        TEXT    NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    seat_id            TEXT,
    upn                TEXT    NOT NULL COLLATE NOCASE,
    teams_object_id    TEXT,
    display_name       TEXT    NOT NULL,
    offering           TEXT    NOT NULL,
    extension          TEXT,
    sip_user           TEXT    COLLATE NOCASE,
    default_did        TEXT,
    voice_route        TEXT    NOT NULL,
    caller_id_policy   TEXT    NOT NULL,
    caller_name_policy TEXT,
    teams_voicemail    INTEGER NOT NULL,
    user_tag           TEXT,
    license_assigned   INTEGER NOT NULL,
    calling_enabled    INTEGER NOT NULL,
    state              TEXT    NOT NULL,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    version            INTEGER NOT NULL
) STRICT;
CREATE INDEX users_of_customer ON users (customer_id, seq);
CREATE UNIQUE INDEX users_upn ON users (customer_id, upn);
CREATE UNIQUE INDEX users_seat ON users (customer_id, seat_id);
CREATE UNIQUE INDEX users_extension ON users (customer_id, extension);
CREATE UNIQUE INDEX users_sip_user ON users (customer_id, sip_user);

-- A number may belong to nobody, and an identifier that is no number may belong to several customers.
CREATE TABLE numbers_now (
    seq                INTEGER PRIMARY KEY AUTOINCREMENT,
    number             TEXT    NOT NULL,
    kind               TEXT    NOT NULL,
    extension          TEXT,
    customer_id        TEXT    REFERENCES customers (id) ON DELETE CASCADE,
    user_id            TEXT    REFERENCES users (id) ON DELETE SET NULL,
    assignment         TEXT    NOT NULL,
    source             TEXT    NOT NULL,
    voice              INTEGER NOT NULL,
    sms                INTEGER NOT NULL,
    fax                INTEGER NOT NULL,
    emergency_location TEXT,
    desired            TEXT    NOT NULL,
    disposition        TEXT,
    status             TEXT,
    status_detail      TEXT,
    in_service         INTEGER NOT NULL,
    in_service_since   INTEGER,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    version            INTEGER NOT NULL
) STRICT;
INSERT INTO numbers_now
SELECT seq, number, 'did', NULL, customer_id, NULL, 'unassigned', 'api', 1, 0, 0, NULL, 'present', NULL,
       iif(in_service, 'in_sync', 'needs_sync'), NULL, in_service, in_service_since, created_at, updated_at, version
FROM numbers;
DROP TABLE numbers;
ALTER TABLE numbers_now RENAME TO numbers;
CREATE UNIQUE INDEX numbers_did ON numbers (number) WHERE kind = 'did';
CREATE UNIQUE INDEX numbers_extension ON numbers (customer_id, number) WHERE kind = 'extension';
CREATE INDEX numbers_by_number ON numbers (number, customer_id);
CREATE INDEX numbers_of_customer ON numbers (customer_id, seq);
CREATE INDEX numbers_by_status ON numbers (customer_id, status, seq);
CREATE INDEX numbers_of_user ON numbers (user_id) WHERE user_id IS NOT NULL;

-- What was stored until now is what calls obey.
UPDATE customers SET sync_state = 'clean'
WHERE NOT EXISTS (SELECT 1 FROM numbers WHERE customer_id = customers.id AND status = 'needs_sync');

-- Work that goes on after its request was answered.
CREATE TABLE tasks (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    kind        TEXT    NOT NULL,
    customer_id TEXT    REFERENCES customers (id) ON DELETE CASCADE,
    state       TEXT    NOT NULL,
    progress    INTEGER NOT NULL,
    details     TEXT    NOT NULL,
    result      TEXT,
    created_at  INTEGER NOT NULL,
    started_at  INTEGER,
    finished_at INTEGER
) STRICT;
CREATE INDEX tasks_of_customer ON tasks (customer_id, kind, seq);
-- One Sync of a customer at a time, whoever asks.
CREATE UNIQUE INDEX tasks_one_sync ON tasks (customer_id)
WHERE kind = 'sync' AND state IN ('queued', 'running');
CREATE INDEX tasks_by_age ON tasks (created_at);

-- What happened to customers; they may be gone.
CREATE TABLE events (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    customer_id TEXT    NOT NULL,
    detail      TEXT    NOT NULL                -- JSON
) STRICT;
CREATE INDEX events_of_customer ON events (customer_id, seq);
CREATE INDEX events_by_age ON events (at);

-- Whom somebody acted for who is not the customer itself.
ALTER TABLE audit ADD COLUMN on_behalf_of TEXT;
