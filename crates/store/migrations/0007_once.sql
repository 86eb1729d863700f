-- Calls that are to be done once, however often they are sent: by team and Idempotency-Key.

CREATE TABLE once (
    team TEXT NOT NULL,
    key TEXT NOT NULL,
    -- SHA-256 of what was asked, in hex.
    asked TEXT NOT NULL,
    -- The server that does it, until it is done.
    holder TEXT NOT NULL,
    -- When that server last said so.
    held_at BIGINT NOT NULL,
    -- The sandbox that a create makes.
    sandbox_id TEXT NOT NULL,
    -- Of the answer; NULL until there is one.
    status BIGINT,
    -- A JSON object of the answer's headers that a caller needs.
    headers TEXT NOT NULL DEFAULT '{}',
    body TEXT NOT NULL DEFAULT '',
    created_at BIGINT NOT NULL,
    PRIMARY KEY (team, key)
);

CREATE INDEX once_by_age ON once (created_at);
