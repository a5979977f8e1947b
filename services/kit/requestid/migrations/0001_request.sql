-- +goose Up
-- What calls with a request_id made, for an hour.
CREATE TABLE request (
	actor TEXT COLLATE "C" NOT NULL,
	id BYTEA NOT NULL, -- a hash of the request_id
	contents BYTEA NOT NULL, -- a hash of the rest of the request
	resource TEXT COLLATE "C" NOT NULL,
	change_number BIGINT NOT NULL,
	time_us BIGINT NOT NULL,
	PRIMARY KEY (actor, id)
);
CREATE INDEX request_time_us ON request (time_us);
