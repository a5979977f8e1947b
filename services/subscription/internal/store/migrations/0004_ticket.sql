-- +goose Up
-- +goose StatementBegin
-- Tickets, of which only the hashes are known.
CREATE TABLE ticket (
    hash           BYTEA PRIMARY KEY,
    -- apis/{api}/versions/{version}.
    version        TEXT COLLATE "C" NOT NULL,
    -- The grant of the credential that it was made of, and that credential in JSON, as
    -- the service that judges credentials writes it, without what makes it good.
    grant_id       TEXT COLLATE "C" NOT NULL,
    credential     TEXT COLLATE "C" NOT NULL,
    -- The ref of the session that it opens.
    ref            TEXT COLLATE "C" NOT NULL,
    -- Empty for any.
    origin         TEXT COLLATE "C" NOT NULL,
    client_network TEXT COLLATE "C" NOT NULL,
    expires_at     BIGINT NOT NULL,
    -- The attempt that has spent it; empty for none.
    attempt        TEXT COLLATE "C" NOT NULL
);
CREATE INDEX ticket_grant ON ticket (grant_id, expires_at);
CREATE INDEX ticket_expires ON ticket (expires_at);
-- +goose StatementEnd
