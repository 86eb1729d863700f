-- Pause and resume. What the founding tables did without is what these defaults say: destroyed on time-out, never paused.

-- destroy, pause or none.
ALTER TABLE sandboxes ADD COLUMN on_timeout TEXT NOT NULL DEFAULT 'destroy';
-- 1 when a call into the paused sandbox resumes it first.
ALTER TABLE sandboxes ADD COLUMN auto_resume BIGINT NOT NULL DEFAULT 0;
-- When the newest generation was made; NULL when there is none.
ALTER TABLE sandboxes ADD COLUMN paused_at BIGINT;
-- Since when work was lost, where the last resume went back to an earlier pause.
ALTER TABLE sandboxes ADD COLUMN lost_since BIGINT;
