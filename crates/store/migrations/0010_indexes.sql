-- How rows are found that are looked for often, however many others there are.

-- What a team has, which is looked at under the lock of all writers; and its list of one status, from the newest on.
CREATE INDEX sandboxes_by_owner_and_status ON sandboxes (owner_id, status, created_at, id);
-- What is under way, which is looked for every few seconds and is next to nothing of all.
CREATE INDEX sandboxes_in_transition ON sandboxes (id) WHERE transition <> '';
-- What ended long ago. It has what the index on status alone had.
CREATE INDEX sandboxes_by_status_and_age ON sandboxes (status, last_updated);
DROP INDEX sandboxes_by_status;

-- A team's history, and its record of calls; a sandbox's.
CREATE INDEX events_by_owner ON events (owner_id, seq);
CREATE INDEX audit_by_owner ON audit (owner_id, at, id);
CREATE INDEX audit_by_sandbox ON audit (sandbox_id, at, id);
