-- What became of users' numbers at Microsoft at the last Sync, and when they were first given there.
ALTER TABLE customers ADD COLUMN teams_push TEXT;
ALTER TABLE customers ADD COLUMN teams_pushed_at INTEGER;
