-- Hosts elsewhere, reached by mutual TLS.

-- The control plane's certificate authority: one row, made once, of the id 'own'. Certificate and key are PEM; whoever reads the key is
-- every host and every control plane of this installation.
CREATE TABLE authorities (
    id TEXT PRIMARY KEY NOT NULL,
    certificate TEXT NOT NULL,
    private_key TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- One-time tokens. A used one stays until it is forgotten, so that its second use is told from an invention.
CREATE TABLE host_invitations (
    id TEXT PRIMARY KEY NOT NULL,
    -- The key under which both sides of a join prove what they say.
    secret TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- NULL until a host has joined by it.
    used_at BIGINT
);

CREATE INDEX host_invitations_by_expiry ON host_invitations (expires_at);
