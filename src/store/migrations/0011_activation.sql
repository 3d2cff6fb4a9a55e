-- How far gateways are at Microsoft, and how they came there.

ALTER TABLE gateways ADD COLUMN verification_code TEXT;
ALTER TABLE gateways ADD COLUMN dns_published_at INTEGER;
ALTER TABLE gateways ADD COLUMN verified_at INTEGER;
ALTER TABLE gateways ADD COLUMN error TEXT;

-- What was chosen before an activation begins; without a row, automatic.
CREATE TABLE activation_methods (
    customer_id TEXT PRIMARY KEY NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    method      TEXT NOT NULL
) STRICT;

-- One row for each time that an activation was begun; it is open until the customer is inactive again.
CREATE TABLE activations (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    customer_id TEXT    NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    method      TEXT    NOT NULL,
    state       TEXT    NOT NULL,               -- JSON
    due_at      INTEGER,                        -- when something is to be done
    started_by  TEXT    NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER,                        -- when calls passed for the first time
    ended_at    INTEGER,
    version     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX activations_open ON activations (customer_id) WHERE ended_at IS NULL;
CREATE INDEX activations_of_customer ON activations (customer_id, seq);
CREATE INDEX activations_due ON activations (due_at) WHERE due_at IS NOT NULL;

-- Who comes back from a consent page shows a text, of which only the SHA-256 is kept; once.
CREATE TABLE consent_questions (
    state_hash    BLOB    PRIMARY KEY NOT NULL,
    activation_id TEXT    NOT NULL UNIQUE REFERENCES activations (id) ON DELETE CASCADE,
    verifier      TEXT    NOT NULL,
    expires_at    INTEGER NOT NULL
) STRICT;

-- Apart from the rest, so that no list can read them by accident.
CREATE TABLE tenant_tokens (
    customer_id   TEXT    PRIMARY KEY NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    refresh_token TEXT    NOT NULL,
    validated_at  INTEGER NOT NULL
) STRICT;
