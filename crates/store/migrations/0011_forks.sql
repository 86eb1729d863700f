-- The sandbox that one is a fork of; empty where it is none.

ALTER TABLE sandboxes ADD COLUMN parent_id TEXT NOT NULL DEFAULT '';
