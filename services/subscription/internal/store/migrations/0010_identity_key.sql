-- +goose Up
-- +goose StatementBegin
-- Keys that sign what backends are told about clients, as those of signing_key do access
-- tokens. Instances of earlier releases, which would sign access tokens with them, do not
-- read this table.
CREATE TABLE identity_key (
    number       BIGINT PRIMARY KEY,
    id           TEXT COLLATE "C" NOT NULL UNIQUE,
    sealed       BYTEA NOT NULL,
    signs_at     BIGINT NOT NULL,
    max_lifetime BIGINT NOT NULL
);
-- +goose StatementEnd
