-- +goose Up
-- +goose StatementBegin
-- How often a session's credential was renewed, and when last; 0 for never.
ALTER TABLE session_record ADD COLUMN renewals BIGINT NOT NULL DEFAULT 0;
ALTER TABLE session_record ADD COLUMN renewed_at BIGINT NOT NULL DEFAULT 0;
-- +goose StatementEnd
