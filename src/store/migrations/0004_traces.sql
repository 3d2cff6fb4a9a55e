-- Why calls went as they did, beside their records; looked up by the call's id or the Call-ID of a leg.
CREATE TABLE traces (
    id          TEXT    NOT NULL PRIMARY KEY,
    customer_id TEXT,
    a_call_id   TEXT    NOT NULL,
    b_call_id   TEXT,
    start       INTEGER NOT NULL,
    trace       TEXT    NOT NULL
) STRICT;
CREATE INDEX traces_of_a_leg ON traces (a_call_id);
CREATE INDEX traces_of_b_leg ON traces (b_call_id);
CREATE INDEX traces_by_start ON traces (start);

-- What is old is deleted by its age.
CREATE INDEX audit_by_age ON audit (at);
