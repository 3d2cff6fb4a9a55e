-- Partners, and what the seeds say of customers.

CREATE TABLE partners (
    seq                INTEGER PRIMARY KEY AUTOINCREMENT,
    id                 TEXT    NOT NULL UNIQUE,
    parent_id          TEXT    REFERENCES partners (id),
    name               TEXT    NOT NULL,
    email              TEXT    NOT NULL,
    offerings          TEXT    NOT NULL,
    billing_references TEXT    NOT NULL,
    state              TEXT    NOT NULL,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    version            INTEGER NOT NULL
) STRICT;
CREATE INDEX partners_of_parent ON partners (parent_id, seq);

-- What a customer is beyond its calls. Rows from before have no tenant name.
ALTER TABLE customers ADD COLUMN tenant_name TEXT COLLATE NOCASE;
ALTER TABLE customers ADD COLUMN tenant_id TEXT;
ALTER TABLE customers ADD COLUMN admin_email TEXT;
ALTER TABLE customers ADD COLUMN seat_type TEXT;
ALTER TABLE customers ADD COLUMN user_limit INTEGER;
ALTER TABLE customers ADD COLUMN offerings TEXT NOT NULL DEFAULT '["trunk"]';
ALTER TABLE customers ADD COLUMN pbx_types TEXT NOT NULL DEFAULT '[]';
ALTER TABLE customers ADD COLUMN allow_external_numbers INTEGER NOT NULL DEFAULT 1;
ALTER TABLE customers ADD COLUMN can_add_extensions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE customers ADD COLUMN billing_references TEXT NOT NULL DEFAULT '[]';
ALTER TABLE customers ADD COLUMN co_management_requested INTEGER NOT NULL DEFAULT 0;
ALTER TABLE customers ADD COLUMN co_management TEXT NOT NULL DEFAULT 'none';
ALTER TABLE customers ADD COLUMN co_management_by TEXT;
ALTER TABLE customers ADD COLUMN co_management_at INTEGER;
ALTER TABLE customers ADD COLUMN sync_state TEXT NOT NULL DEFAULT 'dirty';
-- Grows with every change that a Sync has to carry out; what a Sync began with tells whether it carried out all.
ALTER TABLE customers ADD COLUMN sync_version INTEGER NOT NULL DEFAULT 1;
CREATE UNIQUE INDEX customers_tenant_name ON customers (tenant_name);
CREATE UNIQUE INDEX customers_tenant_id ON customers (tenant_id);
CREATE INDEX customers_by_name ON customers (name COLLATE NOCASE, seq);
CREATE INDEX customers_by_admin_state ON customers (admin_state, seq);
CREATE INDEX customers_by_activation_state ON customers (activation_state, seq);
CREATE INDEX customers_by_sync_state ON customers (sync_state, seq);

-- One space of email addresses for partners and the customers' administrators, whoever writes them.
CREATE TABLE emails (
    email TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL UNIQUE
) STRICT;
CREATE TRIGGER partner_email_in AFTER INSERT ON partners BEGIN
    INSERT INTO emails VALUES (lower(NEW.email), NEW.id);
END;
CREATE TRIGGER partner_email_change AFTER UPDATE OF email ON partners BEGIN
    DELETE FROM emails WHERE owner = OLD.id;
    INSERT INTO emails VALUES (lower(NEW.email), NEW.id);
END;
CREATE TRIGGER partner_email_out AFTER DELETE ON partners BEGIN
    DELETE FROM emails WHERE owner = OLD.id;
END;
CREATE TRIGGER customer_email_in AFTER INSERT ON customers WHEN NEW.admin_email IS NOT NULL BEGIN
    INSERT INTO emails VALUES (lower(NEW.admin_email), NEW.id);
END;
CREATE TRIGGER customer_email_change AFTER UPDATE OF admin_email ON customers BEGIN
    DELETE FROM emails WHERE owner = OLD.id;
    INSERT INTO emails SELECT lower(NEW.admin_email), NEW.id WHERE NEW.admin_email IS NOT NULL;
END;
CREATE TRIGGER customer_email_out AFTER DELETE ON customers BEGIN
    DELETE FROM emails WHERE owner = OLD.id;
END;

-- The search bar: any three characters or more of these, wherever they stand.
CREATE VIRTUAL TABLE customers_search USING fts5 (
    account_id, name, tenant_name, content = 'customers', content_rowid = 'seq', tokenize = 'trigram'
);
INSERT INTO customers_search (customers_search) VALUES ('rebuild');
CREATE TRIGGER customer_search_in AFTER INSERT ON customers BEGIN
    INSERT INTO customers_search (rowid, account_id, name, tenant_name)
    VALUES (NEW.seq, NEW.account_id, NEW.name, NEW.tenant_name);
END;
CREATE TRIGGER customer_search_change AFTER UPDATE OF account_id, name, tenant_name ON customers BEGIN
    INSERT INTO customers_search (customers_search, rowid, account_id, name, tenant_name)
    VALUES ('delete', OLD.seq, OLD.account_id, OLD.name, OLD.tenant_name);
    INSERT INTO customers_search (rowid, account_id, name, tenant_name)
    VALUES (NEW.seq, NEW.account_id, NEW.name, NEW.tenant_name);
END;
CREATE TRIGGER customer_search_out AFTER DELETE ON customers BEGIN
    INSERT INTO customers_search (customers_search, rowid, account_id, name, tenant_name)
    VALUES ('delete', OLD.seq, OLD.account_id, OLD.name, OLD.tenant_name);
END;

-- Partners that were known by their ids only. Their addresses are none until somebody says them.
INSERT INTO partners (id, parent_id, name, email, offerings, billing_references, state, created_at, updated_at, version)
SELECT id, NULL, id, id || '@partner.invalid', '["pbx","trunk"]', '[]', 'active',
       unixepoch() * 1000000, unixepoch() * 1000000, 1
FROM (
    SELECT partner_id AS id FROM customers WHERE partner_id IS NOT NULL
    UNION SELECT scope FROM tokens WHERE role = 'partner_admin' AND scope IS NOT NULL
    UNION SELECT owner FROM music WHERE owner <> ''
);

CREATE TABLE pbx_types (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    code       TEXT    NOT NULL UNIQUE COLLATE NOCASE,
    label      TEXT    NOT NULL,
    defaults   TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version    INTEGER NOT NULL
) STRICT;
INSERT INTO pbx_types (code, label, defaults, created_at, updated_at, version)
VALUES ('generic', 'Any SIP PBX', '{}', unixepoch() * 1000000, unixepoch() * 1000000, 1);
