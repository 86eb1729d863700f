-- What became of sandboxes, in the order in which it did, and who asked for what.

-- The number of the newest event: one row, of the id 'events'. It is counted up in the transaction that writes the event, so that
-- events become visible in the order of their numbers, and no number is ever missing between two that are there.
CREATE TABLE counters (
    id TEXT PRIMARY KEY NOT NULL,
    newest BIGINT NOT NULL
);

INSERT INTO counters (id, newest) VALUES ('events', 0);

-- Only ever added to, and forgotten by age.
CREATE TABLE events (
    seq BIGINT PRIMARY KEY NOT NULL,
    at BIGINT NOT NULL,
    -- created, changed or forgotten.
    kind TEXT NOT NULL,
    sandbox_id TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    -- What the sandbox's row said from then on.
    status TEXT NOT NULL,
    transition TEXT NOT NULL,
    status_reason TEXT NOT NULL,
    -- Whose doing it was; empty where no caller asked for it.
    request_id TEXT NOT NULL
);

CREATE INDEX events_by_sandbox ON events (sandbox_id, seq);
CREATE INDEX events_by_age ON events (at);

-- Calls that may have changed something. Only ever added to, and forgotten by age.
CREATE TABLE audit (
    id TEXT PRIMARY KEY NOT NULL,
    at BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    -- The caller's key, and whose it is.
    key_id TEXT NOT NULL,
    key_name TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    -- A method and a route, such as 'POST /v1/sandboxes/{id}/exec'.
    action TEXT NOT NULL,
    -- Empty where it was about none.
    sandbox_id TEXT NOT NULL,
    -- Of the HTTP answer.
    status BIGINT NOT NULL
);

CREATE INDEX audit_by_age ON audit (at, id);
