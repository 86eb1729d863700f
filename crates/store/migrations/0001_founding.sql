-- Portable types only: TEXT, and BIGINT for numbers and for times in milliseconds since the epoch.
-- Empty text and NULL: text is empty when there is none, a time that has not come is NULL.

CREATE TABLE sandboxes (
    id TEXT PRIMARY KEY NOT NULL,
    owner_id TEXT NOT NULL DEFAULT '',
    host_id TEXT NOT NULL DEFAULT 'default',
    template TEXT NOT NULL DEFAULT 'minimal',
    status TEXT NOT NULL DEFAULT 'pending',
    -- What is under way; empty when settled.
    transition TEXT NOT NULL DEFAULT '',
    status_reason TEXT NOT NULL DEFAULT '',
    vcpus BIGINT NOT NULL DEFAULT 1,
    memory_mb BIGINT NOT NULL DEFAULT 512,
    timeout_sec BIGINT NOT NULL DEFAULT 300,
    hostname TEXT NOT NULL DEFAULT '',
    -- A JSON object, for reading; sandbox_metadata has the same pairs, for finding.
    metadata TEXT NOT NULL DEFAULT '{}',
    guest_ip TEXT NOT NULL DEFAULT '',
    host_ip TEXT NOT NULL DEFAULT '',
    isolation TEXT NOT NULL DEFAULT '',
    vmm TEXT NOT NULL DEFAULT '',
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    last_active_at BIGINT,
    last_updated BIGINT NOT NULL,
    -- Counts the writes: whoever writes names the version it has read.
    version BIGINT NOT NULL DEFAULT 1
);

CREATE INDEX sandboxes_by_status ON sandboxes (status);
CREATE INDEX sandboxes_by_host ON sandboxes (host_id, status);
CREATE INDEX sandboxes_by_age ON sandboxes (created_at, id);

CREATE TABLE sandbox_metadata (
    sandbox_id TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (sandbox_id, key)
);

CREATE INDEX sandbox_metadata_by_pair ON sandbox_metadata (key, value);

CREATE TABLE api_keys (
    -- SHA-256 of the key, in hex. The key itself is nowhere.
    hash TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
