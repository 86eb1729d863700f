-- What a team may take of its hosts' disks, in MiB; NULL for no limit.

ALTER TABLE teams ADD COLUMN max_storage_mb BIGINT;
