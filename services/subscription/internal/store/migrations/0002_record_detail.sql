-- +goose Up
-- What the cause of a session's end leaves open, in words.
ALTER TABLE session_record ADD COLUMN detail TEXT COLLATE "C" NOT NULL DEFAULT '';
