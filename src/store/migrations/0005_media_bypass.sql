-- Whether a region's carrier trunk has media bypass at Microsoft.

ALTER TABLE regions ADD COLUMN media_bypass INTEGER NOT NULL DEFAULT 0;
