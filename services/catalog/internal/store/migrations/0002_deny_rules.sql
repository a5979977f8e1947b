-- +goose Up
-- +goose StatementBegin
-- Empty texts and a 0 are "not set". versions has ids of versions of the API, as JSON. A
-- client address is written as package netaddr writes networks.
CREATE TABLE deny_rule (
	id TEXT COLLATE "C" PRIMARY KEY,
	api_id TEXT COLLATE "C" NOT NULL,
	versions TEXT COLLATE "C" NOT NULL,
	application TEXT COLLATE "C" NOT NULL,
	subscription TEXT COLLATE "C" NOT NULL,
	client_address TEXT COLLATE "C" NOT NULL,
	reason TEXT COLLATE "C" NOT NULL,
	expires_at BIGINT NOT NULL,
	creator TEXT COLLATE "C" NOT NULL,
	administrative BOOLEAN NOT NULL,
	etag BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);
CREATE INDEX deny_rule_created ON deny_rule (created_at, id);
CREATE INDEX deny_rule_api ON deny_rule (api_id, created_at, id);
CREATE INDEX deny_rule_client_address ON deny_rule (client_address);
CREATE INDEX deny_rule_expires ON deny_rule (expires_at);
-- +goose StatementEnd
