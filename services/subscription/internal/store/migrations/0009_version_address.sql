-- +goose Up
-- +goose StatementBegin
-- What versions are advertised at beside the addresses of their APIs' contexts. base has the
-- scheme, the host and the port, as they are compared.
CREATE TABLE version_address (
	version TEXT COLLATE "C" NOT NULL REFERENCES version (name) ON DELETE CASCADE,
	address TEXT COLLATE "C" NOT NULL,
	base    TEXT COLLATE "C" NOT NULL,
	path    TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (version, address)
);
CREATE INDEX version_address_base ON version_address (base, path);
-- +goose StatementEnd
