-- Numbers that have left a customer whose users once were given theirs at Microsoft, as Teams writes them: whose they may
-- still be there, until a Sync takes them away.
CREATE TABLE leftover_numbers (
    customer_id TEXT NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    number      TEXT NOT NULL,
    PRIMARY KEY (customer_id, number)
) STRICT, WITHOUT ROWID;
