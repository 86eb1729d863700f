-- Keys of teams, each for what its scopes say. What there was before is the operator's: keys may do all, sandboxes are the team's.

-- The first hex digits of the hash: what names a key where the key itself must not stand.
ALTER TABLE api_keys ADD COLUMN id TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN team TEXT NOT NULL DEFAULT 'default';
-- Separated by commas.
ALTER TABLE api_keys ADD COLUMN scopes TEXT NOT NULL DEFAULT 'admin';
-- NULL: never.
ALTER TABLE api_keys ADD COLUMN expires_at BIGINT;
-- To a minute or so.
ALTER TABLE api_keys ADD COLUMN last_used_at BIGINT;
-- A revoked key stays, so that it is told from one that nobody knows.
ALTER TABLE api_keys ADD COLUMN revoked_at BIGINT;

UPDATE api_keys SET id = 'key-' || substr(hash, 1, 8);
CREATE UNIQUE INDEX api_keys_by_id ON api_keys (id);

CREATE TABLE teams (
    name TEXT PRIMARY KEY NOT NULL,
    -- What its sandboxes may take at a time, and how many may be made in a minute; NULL: as much as there is.
    max_sandboxes BIGINT,
    max_vcpus BIGINT,
    max_memory_mb BIGINT,
    creates_per_min BIGINT,
    created_at BIGINT NOT NULL
);

INSERT INTO teams (name, created_at) VALUES ('default', 0);

UPDATE sandboxes SET owner_id = 'default';
CREATE INDEX sandboxes_by_owner ON sandboxes (owner_id, created_at);
