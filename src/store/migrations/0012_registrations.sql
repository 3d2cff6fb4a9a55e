-- Customers' exchanges, and the users there in whose names we register.

CREATE TABLE pbxs (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    customer_id  TEXT    NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    pbx_type     TEXT    NOT NULL COLLATE NOCASE REFERENCES pbx_types (code),
    location     TEXT    NOT NULL COLLATE NOCASE,
    sip_domain   TEXT    NOT NULL,
    registrar    TEXT,
    proxy        TEXT,
    dns_lookup   TEXT    NOT NULL,
    transport    TEXT    NOT NULL,
    port         INTEGER NOT NULL,
    expires_s    INTEGER NOT NULL,
    keep_alive_s INTEGER,
    acl          TEXT    NOT NULL,              -- JSON
    profile      TEXT    NOT NULL,              -- JSON
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    version      INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX pbxs_location ON pbxs (customer_id, location);
CREATE INDEX pbxs_of_customer ON pbxs (customer_id, seq);

-- What a user is when it was last written or synced stands here too, so that a user's own changes wait for a Sync: one
-- that is gone keeps its registration until then.
CREATE TABLE pbx_registrations (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT    NOT NULL UNIQUE,
    customer_id   TEXT    NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    pbx_id        TEXT    NOT NULL REFERENCES pbxs (id),
    user_id       TEXT    REFERENCES users (id) ON DELETE SET NULL,
    username      TEXT    NOT NULL COLLATE NOCASE,
    auth_id       TEXT,
    password      TEXT    NOT NULL,
    contact_token TEXT    NOT NULL UNIQUE,
    enabled       INTEGER NOT NULL,
    serves        INTEGER NOT NULL,
    numbers       TEXT    NOT NULL,             -- JSON
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    version       INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX pbx_registrations_username ON pbx_registrations (pbx_id, username);
CREATE UNIQUE INDEX pbx_registrations_user ON pbx_registrations (pbx_id, user_id);
CREATE INDEX pbx_registrations_of_customer ON pbx_registrations (customer_id, seq);
CREATE INDEX pbx_registrations_of_user ON pbx_registrations (user_id) WHERE user_id IS NOT NULL;

-- Templates for exchanges of which it is known what they want; a carrier that has made its own keeps it.
INSERT OR IGNORE INTO pbx_types (code, label, defaults, created_at, updated_at, version) VALUES
    ('netsapiens', 'NetSapiens', '{"expires_s":300,"extensions":true}', unixepoch() * 1000000, unixepoch() * 1000000, 1),
    ('asterisk', 'Asterisk, FreePBX', '{"dns_lookup":"a"}', unixepoch() * 1000000, unixepoch() * 1000000, 1),
    ('freeswitch', 'FreeSWITCH, FusionPBX', '{"dns_lookup":"a","expires_s":600}', unixepoch() * 1000000, unixepoch() * 1000000, 1),
    ('broadsoft', 'Cisco BroadWorks', '{"extensions":true}', unixepoch() * 1000000, unixepoch() * 1000000, 1),
    ('3cx', '3CX', '{"dns_lookup":"a","expires_s":600}', unixepoch() * 1000000, unixepoch() * 1000000, 1);
