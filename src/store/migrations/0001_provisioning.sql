-- Times are microseconds since 1970 UTC, ids are UUIDs as text, lists are JSON. `seq` is the order of creation and what
-- pages are cut by. `version` makes the ETag.

CREATE TABLE directory_state (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    generation INTEGER NOT NULL
) STRICT;
INSERT INTO directory_state VALUES (1, 1);

CREATE TABLE regions (
    seq               INTEGER PRIMARY KEY AUTOINCREMENT,
    code              TEXT    NOT NULL UNIQUE,
    display_name      TEXT    NOT NULL,
    base_fqdn         TEXT    NOT NULL UNIQUE COLLATE NOCASE,
    sip_port          INTEGER NOT NULL,
    emergency_numbers TEXT    NOT NULL,
    enabled           INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    version           INTEGER NOT NULL
) STRICT;

CREATE TABLE customers (
    seq               INTEGER PRIMARY KEY AUTOINCREMENT,
    id                TEXT    NOT NULL UNIQUE,
    partner_id        TEXT,
    account_id        TEXT    NOT NULL UNIQUE,
    name              TEXT    NOT NULL,
    max_channels      INTEGER NOT NULL,
    regions           TEXT    NOT NULL,
    pbx_moh           INTEGER NOT NULL,
    sip_data_access   INTEGER NOT NULL,
    caller_screening  INTEGER NOT NULL,
    emergency_numbers TEXT    NOT NULL,
    admin_state       TEXT    NOT NULL,
    activation_state  TEXT    NOT NULL,
    activation_reason TEXT,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    version           INTEGER NOT NULL
) STRICT;
CREATE INDEX customers_of_partner ON customers (partner_id, seq);

CREATE TABLE gateways (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    customer_id TEXT    NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    region      TEXT    NOT NULL REFERENCES regions (code),
    label       TEXT    NOT NULL,
    fqdn        TEXT    NOT NULL UNIQUE COLLATE NOCASE,
    state       TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    UNIQUE (customer_id, region)
) STRICT;
CREATE INDEX gateways_of_region ON gateways (region);

CREATE TABLE numbers (
    seq              INTEGER PRIMARY KEY AUTOINCREMENT,
    number           TEXT    NOT NULL UNIQUE,
    customer_id      TEXT    NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    in_service       INTEGER NOT NULL,
    in_service_since INTEGER,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    version          INTEGER NOT NULL
) STRICT;
CREATE INDEX numbers_of_customer ON numbers (customer_id, seq);

CREATE TABLE trunks (
    seq                  INTEGER PRIMARY KEY AUTOINCREMENT,
    id                   TEXT    NOT NULL UNIQUE,
    customer_id          TEXT    REFERENCES customers (id) ON DELETE CASCADE,
    name                 TEXT    NOT NULL,
    role                 TEXT    NOT NULL,
    transport            TEXT    NOT NULL,
    host                 TEXT    NOT NULL,
    port                 INTEGER,
    auth                 TEXT    NOT NULL,
    username             TEXT,
    acl                  TEXT    NOT NULL,
    cac_max_sessions     INTEGER,
    number_format        TEXT    NOT NULL,
    country_code         TEXT,
    trunk_prefix         TEXT,
    international_prefix TEXT,
    options_ping_s       INTEGER,
    priority             INTEGER NOT NULL,
    weight               INTEGER NOT NULL,
    state                TEXT    NOT NULL,
    profile              TEXT    NOT NULL,
    created_at           INTEGER NOT NULL,
    updated_at           INTEGER NOT NULL,
    version              INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX trunks_name ON trunks (ifnull(customer_id, ''), name);
CREATE INDEX trunks_of_customer ON trunks (customer_id, seq);

-- Apart from the rest, so that no list of trunks can read them by accident.
CREATE TABLE trunk_passwords (
    trunk_id TEXT PRIMARY KEY REFERENCES trunks (id) ON DELETE CASCADE,
    password TEXT NOT NULL
) STRICT;
