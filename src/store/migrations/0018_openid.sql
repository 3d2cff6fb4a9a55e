-- People who sign in at an OpenID provider. Their accounts have no password that anybody knows.
ALTER TABLE accounts ADD COLUMN tenant TEXT;
-- Who they are there, for ever; none, until they come for the first time.
ALTER TABLE accounts ADD COLUMN subject TEXT;
-- Whether role and scope follow from what is known of customers and users, and are looked up at each sign-in.
ALTER TABLE accounts ADD COLUMN derived INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX accounts_subject ON accounts (ifnull(tenant, ''), subject, derived) WHERE subject IS NOT NULL;
