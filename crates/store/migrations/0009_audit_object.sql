-- What a call was about besides a sandbox: a key's id, the name of a team or a snapshot; empty where it was about none.

ALTER TABLE audit ADD COLUMN object TEXT NOT NULL DEFAULT '';
