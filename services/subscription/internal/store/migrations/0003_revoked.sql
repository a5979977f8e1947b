-- +goose Up
-- +goose StatementBegin
-- The change that revoked all credentials that were issued before it, of an application, of an
-- OAuth client, or of an application where a subscription is; 0 for none.
ALTER TABLE application ADD COLUMN revoked BIGINT NOT NULL DEFAULT 0;
ALTER TABLE oauth_client ADD COLUMN revoked BIGINT NOT NULL DEFAULT 0;
ALTER TABLE subscription ADD COLUMN revoked BIGINT NOT NULL DEFAULT 0;
-- The change that issued the value; 0 where it is not known.
ALTER TABLE api_key_value ADD COLUMN issued BIGINT NOT NULL DEFAULT 0;
-- +goose StatementEnd
