-- Who was asked to sign in at Microsoft for which service. Of the text in the link only the SHA-256 finds it; sealed, it can
-- be shown again to who may send it.
CREATE TABLE invitations (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT    NOT NULL UNIQUE,
    customer_id   TEXT    NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    service_id    TEXT    NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    email         TEXT,
    admin_email   TEXT,
    token_hash    BLOB    NOT NULL UNIQUE,
    token         TEXT    NOT NULL,
    key_id        TEXT,
    state         TEXT    NOT NULL,
    failure       TEXT,                         -- JSON: why the last step did not succeed
    mail_id       TEXT,
    letters       INTEGER NOT NULL,
    sent_at       INTEGER,                      -- when the last letter was asked for
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    version       INTEGER NOT NULL
) STRICT;
CREATE INDEX invitations_of_customer ON invitations (customer_id, seq);
CREATE INDEX invitations_of_service ON invitations (service_id, seq);

-- A sign-in at another device that has begun (RFC 8628); gone when it is over.
CREATE TABLE invitation_devices (
    invitation_id    TEXT    PRIMARY KEY NOT NULL REFERENCES invitations (id) ON DELETE CASCADE,
    device_code      TEXT    NOT NULL,
    key_id           TEXT,
    user_code        TEXT    NOT NULL,
    verification_uri TEXT    NOT NULL,
    interval_s       INTEGER NOT NULL,
    due_at           INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL
) STRICT;
CREATE INDEX invitation_devices_due ON invitation_devices (due_at);

-- Who comes back from a page of consent shows a text, of which only the SHA-256 is kept; once.
CREATE TABLE invitation_questions (
    invitation_id TEXT    PRIMARY KEY NOT NULL REFERENCES invitations (id) ON DELETE CASCADE,
    state_hash    BLOB    NOT NULL UNIQUE,
    expires_at    INTEGER NOT NULL
) STRICT;

-- What was entered for the upgrade of a service, however far it came.
CREATE TABLE upgrades (
    service_id   TEXT    PRIMARY KEY NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    draft        TEXT    NOT NULL,              -- JSON, without the password of the connection
    password     TEXT,                          -- sealed
    key_id       TEXT,
    task_id      TEXT,
    updated_at   INTEGER NOT NULL,
    version      INTEGER NOT NULL
) STRICT;

-- People who sign in with a password, of which only Argon2id is kept.
CREATE TABLE accounts (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    name        TEXT    NOT NULL,
    folded_name TEXT    NOT NULL UNIQUE,
    role        TEXT    NOT NULL,
    scope       TEXT,
    salt        BLOB    NOT NULL,
    hash        BLOB    NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

-- None: the token was made for a program.
ALTER TABLE tokens ADD COLUMN account_id TEXT REFERENCES accounts (id) ON DELETE CASCADE;
CREATE INDEX tokens_of_account ON tokens (account_id, seq) WHERE account_id IS NOT NULL;
