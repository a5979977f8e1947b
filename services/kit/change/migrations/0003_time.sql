-- +goose Up
-- +goose StatementBegin
-- The time of the newest change, in microseconds. It never goes back: two changes have not the
-- same, whatever the clock says.
ALTER TABLE change_counter ADD COLUMN time_us BIGINT NOT NULL DEFAULT 0;
UPDATE change_counter SET time_us = COALESCE((SELECT max(time_us) FROM change), 0);
-- +goose StatementEnd
