-- +goose Up
-- +goose StatementBegin
-- The tag of a gateway's boot (package ref); empty for none.
ALTER TABLE change_watcher ADD COLUMN ref_tag TEXT COLLATE "C" NOT NULL DEFAULT '';
-- +goose StatementEnd
