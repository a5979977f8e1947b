-- +goose Up
-- +goose StatementBegin
-- Where versions are reached beside the addresses of their APIs' contexts; the version's own
-- row has the same in order.
CREATE TABLE further_address (
	host TEXT COLLATE "C" NOT NULL, -- '' is the shared host
	prefix_fold TEXT COLLATE "C" NOT NULL, -- '' is the whole host
	wildcard TEXT COLLATE "C" NOT NULL, -- that stands for the host among others; '' for none
	version_id TEXT COLLATE "C" NOT NULL REFERENCES version (id) ON DELETE CASCADE,
	PRIMARY KEY (host, prefix_fold)
);
CREATE INDEX further_address_version ON further_address (version_id);
CREATE INDEX further_address_wildcard ON further_address (wildcard);
-- +goose StatementEnd
