-- +goose Up
-- +goose StatementBegin
CREATE TABLE api_key (
    id                  TEXT COLLATE "C" PRIMARY KEY,
    application         TEXT COLLATE "C" NOT NULL REFERENCES application (id) ON DELETE CASCADE,
    display_name        TEXT COLLATE "C" NOT NULL,
    stage               BIGINT NOT NULL,
    -- The format of its values, in kit/apikey.
    format              TEXT COLLATE "C" NOT NULL,
    -- Each with a space between; empty for all.
    permitted_addresses TEXT COLLATE "C" NOT NULL,
    permitted_referers  TEXT COLLATE "C" NOT NULL,
    -- 0 for never.
    expires_at          BIGINT NOT NULL,
    last_used_at        BIGINT NOT NULL,
    created_at          BIGINT NOT NULL,
    updated_at          BIGINT NOT NULL,
    etag                BIGINT NOT NULL
);
CREATE INDEX api_key_application ON api_key (application, created_at, id);
CREATE INDEX api_key_expires ON api_key (expires_at);

-- Values of API keys, of which only the hashes are known.
CREATE TABLE api_key_value (
    id         TEXT COLLATE "C" PRIMARY KEY,
    api_key    TEXT COLLATE "C" NOT NULL REFERENCES api_key (id) ON DELETE CASCADE,
    hash       BYTEA NOT NULL UNIQUE,
    -- 0 for as long as the key is good; another where the value was replaced.
    expires_at BIGINT NOT NULL
);
CREATE INDEX api_key_value_key ON api_key_value (api_key);
CREATE INDEX api_key_value_expires ON api_key_value (expires_at);

-- applications/{application}/apiKeys/{api_key}, empty for another credential.
ALTER TABLE session_record ADD COLUMN api_key TEXT COLLATE "C" NOT NULL DEFAULT '';
-- +goose StatementEnd
