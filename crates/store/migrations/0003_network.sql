-- Where a sandbox's packets may go, as JSON; those that were made before reach the internet and nothing else.
ALTER TABLE sandboxes ADD COLUMN network TEXT NOT NULL DEFAULT '{"internet":true,"allow":[],"deny":[]}';
