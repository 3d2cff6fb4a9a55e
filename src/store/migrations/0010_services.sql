-- What customers have bought, and which trunks serve what.

CREATE TABLE services (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    id             TEXT    NOT NULL UNIQUE,
    customer_id    TEXT    NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    full_name      TEXT    NOT NULL,
    short_name     TEXT    NOT NULL,
    folded_name    TEXT    NOT NULL UNIQUE,
    kind           TEXT    NOT NULL,
    license_type   TEXT    NOT NULL,
    licensed_users INTEGER NOT NULL,
    state          TEXT    NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    version        INTEGER NOT NULL
) STRICT;
CREATE INDEX services_of_customer ON services (customer_id, seq);

ALTER TABLE trunks ADD COLUMN service_id TEXT REFERENCES services (id) ON DELETE SET NULL;
CREATE INDEX trunks_of_service ON trunks (service_id) WHERE service_id IS NOT NULL;
