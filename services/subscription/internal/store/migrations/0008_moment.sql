-- +goose Up
-- +goose StatementBegin
-- The times of the changes whose numbers stand beside them, as the change counter has them:
-- they never go back, where numbers do with a restored backup. 0 where it is not known.
ALTER TABLE application ADD COLUMN revoked_us BIGINT NOT NULL DEFAULT 0;
ALTER TABLE oauth_client ADD COLUMN revoked_us BIGINT NOT NULL DEFAULT 0;
ALTER TABLE revoked_at_version ADD COLUMN revoked_us BIGINT NOT NULL DEFAULT 0;
ALTER TABLE api_key_value ADD COLUMN issued_us BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ended_access ADD COLUMN change_us BIGINT NOT NULL DEFAULT 0;
-- +goose StatementEnd
