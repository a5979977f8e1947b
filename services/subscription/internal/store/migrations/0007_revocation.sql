-- +goose Up
-- +goose StatementBegin
-- The change that revoked all credentials of an application at a version that were issued
-- before it. It stays when the subscription goes, and holds where none is needed.
CREATE TABLE revoked_at_version (
    application TEXT COLLATE "C" NOT NULL REFERENCES application (id) ON DELETE CASCADE,
    version     TEXT COLLATE "C" NOT NULL REFERENCES version (name) ON DELETE CASCADE,
    revoked     BIGINT NOT NULL,
    PRIMARY KEY (application, version)
);
CREATE INDEX revoked_at_version_version ON revoked_at_version (version);
INSERT INTO revoked_at_version (application, version, revoked)
    SELECT application, version, revoked FROM subscription WHERE revoked > 0;
ALTER TABLE subscription DROP COLUMN revoked;
-- The id of the application, or of the user of try-out tokens, for whom a token or a secret
-- was revoked by its name; empty for what was revoked by its value.
ALTER TABLE revocation ADD COLUMN named_for TEXT COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX revocation_named_for ON revocation (named_for, expires_at) WHERE named_for <> '';
-- +goose StatementEnd
