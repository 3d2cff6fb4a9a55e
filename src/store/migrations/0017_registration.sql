-- Invitations without a service: to a customer's administrator, who types the code of the letter. Sign-ins and questions that
-- are under way last minutes; who is in the middle of one begins it again.
DROP TABLE invitation_devices;
DROP TABLE invitation_questions;
ALTER TABLE invitations RENAME TO invitations_before;
CREATE TABLE invitations (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT    NOT NULL UNIQUE,
    customer_id   TEXT    NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    service_id    TEXT    REFERENCES services (id) ON DELETE CASCADE,
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
    version       INTEGER NOT NULL,
    code          TEXT    NOT NULL,             -- none, wanted, given
    wrong_codes   INTEGER NOT NULL              -- since the last letter
) STRICT;
INSERT INTO invitations
SELECT seq, id, customer_id, service_id, email, admin_email, token_hash, token, key_id, state, failure, mail_id, letters,
       sent_at, created_at, expires_at, version, 'none', 0
FROM invitations_before;
DROP TABLE invitations_before;
CREATE INDEX invitations_of_customer ON invitations (customer_id, seq);
CREATE INDEX invitations_of_service ON invitations (service_id, seq);

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
CREATE TABLE invitation_questions (
    invitation_id TEXT    PRIMARY KEY NOT NULL REFERENCES invitations (id) ON DELETE CASCADE,
    state_hash    BLOB    NOT NULL UNIQUE,
    expires_at    INTEGER NOT NULL
) STRICT;

-- The codes of letters. One that no longer counts stays for a while: who comes with it is told so.
CREATE TABLE invitation_codes (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT    NOT NULL UNIQUE,
    invitation_id TEXT    NOT NULL REFERENCES invitations (id) ON DELETE CASCADE,
    code          TEXT    NOT NULL,             -- sealed
    key_id        TEXT    NOT NULL,
    state         TEXT    NOT NULL              -- live, used, void
) STRICT;
CREATE INDEX invitation_codes_of_invitation ON invitation_codes (invitation_id, seq);

-- Links that another one has replaced.
CREATE TABLE invitation_links (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    token_hash    BLOB    NOT NULL UNIQUE,
    invitation_id TEXT    NOT NULL REFERENCES invitations (id) ON DELETE CASCADE
) STRICT;
CREATE INDEX invitation_links_of_invitation ON invitation_links (invitation_id, seq);

-- The link by which a partner activates its account; only its SHA-256 is kept.
CREATE TABLE partner_invitations (
    partner_id TEXT    PRIMARY KEY NOT NULL REFERENCES partners (id) ON DELETE CASCADE,
    token_hash BLOB    NOT NULL UNIQUE,
    mail_id    TEXT,
    letters    INTEGER NOT NULL,
    sent_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER
) STRICT;
