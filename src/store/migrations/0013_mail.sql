-- Secrets are sealed with a key that is not in the database; none: the row is from before, and sealed at the next start.

ALTER TABLE trunk_passwords   ADD COLUMN key_id TEXT;
ALTER TABLE tenant_tokens     ADD COLUMN key_id TEXT;
ALTER TABLE consent_questions ADD COLUMN key_id TEXT;
ALTER TABLE pbx_registrations ADD COLUMN key_id TEXT;

-- Letters to people: queued until they have left or nobody waits for them any more.
CREATE TABLE mails (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    customer_id TEXT    REFERENCES customers (id) ON DELETE CASCADE,
    kind        TEXT    NOT NULL,
    recipient   TEXT    NOT NULL,
    subject     TEXT    NOT NULL,
    body        TEXT,                           -- sealed; none once it is over
    key_id      TEXT,
    state       TEXT    NOT NULL,
    attempts    INTEGER NOT NULL,
    error       TEXT,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    due_at      INTEGER,                        -- none once it is over
    finished_at INTEGER
) STRICT;
CREATE INDEX mails_due ON mails (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX mails_over ON mails (finished_at) WHERE finished_at IS NOT NULL;
