-- +goose Up
-- The engine takes the whole file at once: goose would look for the end of each statement,
-- with 4 MiB for each line where its pool is empty.
-- +goose StatementBegin
-- Times are microseconds since 1970 in UTC, lists are JSON, an empty text or a 0
-- is "not set". Etags rise by one. Names that look alike have the same skeleton (package
-- uniquename).

CREATE TABLE plan (
	id TEXT COLLATE "C" PRIMARY KEY,
	display_name TEXT COLLATE "C" NOT NULL,
	display_fold TEXT COLLATE "C" NOT NULL UNIQUE,
	display_skeleton TEXT COLLATE "C" NOT NULL,
	display_ascii BOOLEAN NOT NULL,
	description TEXT COLLATE "C" NOT NULL,
	limits TEXT COLLATE "C" NOT NULL,
	billing TEXT COLLATE "C" NOT NULL,
	price_label TEXT COLLATE "C" NOT NULL,
	attributes TEXT COLLATE "C" NOT NULL,
	etag BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);
CREATE INDEX plan_skeleton ON plan (display_skeleton);
CREATE INDEX plan_created ON plan (created_at, id);

CREATE TABLE api (
	id TEXT COLLATE "C" PRIMARY KEY,
	display_name TEXT COLLATE "C" NOT NULL,
	display_fold TEXT COLLATE "C" NOT NULL UNIQUE,
	display_skeleton TEXT COLLATE "C" NOT NULL,
	display_ascii BOOLEAN NOT NULL,
	context TEXT COLLATE "C" NOT NULL,
	context_fold TEXT COLLATE "C" NOT NULL UNIQUE,
	description TEXT COLLATE "C" NOT NULL,
	owner TEXT COLLATE "C" NOT NULL,
	default_version TEXT COLLATE "C" NOT NULL,
	default_version_paths BOOLEAN NOT NULL,
	published BIGINT NOT NULL, -- how many of its versions are in this state
	created BIGINT NOT NULL, -- and in this one
	etag BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);
CREATE INDEX api_skeleton ON api (display_skeleton);
CREATE INDEX api_created ON api (created_at, id);
CREATE INDEX api_owner ON api (owner, created_at, id);

CREATE TABLE version (
	id TEXT COLLATE "C" PRIMARY KEY,
	api_id TEXT COLLATE "C" NOT NULL REFERENCES api (id),
	version TEXT COLLATE "C" NOT NULL,
	display_fold TEXT COLLATE "C" NOT NULL, -- its API's
	search TEXT COLLATE "C" NOT NULL, -- what it is found by
	description TEXT COLLATE "C" NOT NULL,
	tags TEXT COLLATE "C" NOT NULL,
	endpoints BYTEA NOT NULL, -- sealed
	security TEXT COLLATE "C" NOT NULL,
	plans TEXT COLLATE "C" NOT NULL,
	origins TEXT COLLATE "C" NOT NULL,
	max_session_age BIGINT NOT NULL, -- nanoseconds
	backend_host TEXT COLLATE "C" NOT NULL,
	fixed_host TEXT COLLATE "C" NOT NULL,
	advertised_hosts TEXT COLLATE "C" NOT NULL,
	backend_origin TEXT COLLATE "C" NOT NULL,
	pings TEXT COLLATE "C" NOT NULL,
	traffic_plan TEXT COLLATE "C" NOT NULL,
	subscriptionless BOOLEAN NOT NULL,
	max_message_bytes BIGINT NOT NULL,
	error_template TEXT COLLATE "C" NOT NULL,
	error_text TEXT COLLATE "C" NOT NULL,
	state TEXT COLLATE "C" NOT NULL,
	change_number BIGINT NOT NULL, -- number of the change that made its route
	etag BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	UNIQUE (api_id, version)
);
-- To users, versions that differ only in case are one.
CREATE UNIQUE INDEX version_fold ON version (api_id, lower(version));
CREATE INDEX version_created ON version (created_at, id);
CREATE INDEX version_display ON version (display_fold, id);
CREATE INDEX version_traffic_plan ON version (traffic_plan, id);
CREATE INDEX version_api ON version (api_id, created_at, id);

-- What the installation is called in Via and CDN-Loop: one row, made at the first start.
CREATE TABLE installation (
	one BIGINT PRIMARY KEY CHECK (one = 1),
	name TEXT COLLATE "C" NOT NULL
);

-- What is or ever was the version string of a version of an API.
CREATE TABLE version_string (
	api_id TEXT COLLATE "C" NOT NULL REFERENCES api (id) ON DELETE CASCADE,
	version TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (api_id, version)
);

-- What versions are found by; the version's own row has the same in order.
CREATE TABLE version_tag (
	version_id TEXT COLLATE "C" NOT NULL REFERENCES version (id) ON DELETE CASCADE,
	tag TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (version_id, tag)
);
CREATE INDEX version_tag_tag ON version_tag (tag, version_id);

CREATE TABLE version_plan (
	version_id TEXT COLLATE "C" NOT NULL REFERENCES version (id) ON DELETE CASCADE,
	plan_id TEXT COLLATE "C" NOT NULL REFERENCES plan (id),
	PRIMARY KEY (version_id, plan_id)
);
CREATE INDEX version_plan_plan ON version_plan (plan_id, version_id);

INSERT INTO plan (id, display_name, display_fold, display_skeleton, display_ascii, description,
	limits, billing, price_label, attributes, etag, created_at, updated_at)
VALUES
	('unlimited', 'Unlimited', 'unlimited', 'unlirnited', TRUE, 'Any number of messages.',
		'[]', 'FREE', '', '[]', 1, 1793491200000001, 1793491200000001),
	('gold', 'Gold', 'gold', 'gold', TRUE, '5000 messages a minute.',
		'[{"name":"messages-per-minute","kind":"quota","unit":"MESSAGES","amount":5000,"window":"MINUTE","on_outage":"ALLOW","reaction":"DROP"}]', 'FREE', '', '[]', 1, 1793491200000002, 1793491200000002),
	('silver', 'Silver', 'silver', 'silver', TRUE, '2000 messages a minute.',
		'[{"name":"messages-per-minute","kind":"quota","unit":"MESSAGES","amount":2000,"window":"MINUTE","on_outage":"ALLOW","reaction":"DROP"}]', 'FREE', '', '[]', 1, 1793491200000003, 1793491200000003),
	('bronze', 'Bronze', 'bronze', 'bronze', TRUE, '1000 messages a minute.',
		'[{"name":"messages-per-minute","kind":"quota","unit":"MESSAGES","amount":1000,"window":"MINUTE","on_outage":"ALLOW","reaction":"DROP"}]', 'FREE', '', '[]', 1, 1793491200000004, 1793491200000004),
	('async-unlimited', 'AsyncUnlimited', 'asyncunlimited', 'asyncunlirnited', TRUE, 'Any number of messages.',
		'[]', 'FREE', '', '[]', 1, 1793491200000005, 1793491200000005),
	('async-gold', 'AsyncGold', 'asyncgold', 'asyncgold', TRUE, '50000 messages a day.',
		'[{"name":"messages-per-day","kind":"quota","unit":"MESSAGES","amount":50000,"window":"DAY","on_outage":"ALLOW","reaction":"DROP"}]', 'FREE', '', '[]', 1, 1793491200000006, 1793491200000006),
	('async-silver', 'AsyncSilver', 'asyncsilver', 'asyncsilver', TRUE, '25000 messages a day.',
		'[{"name":"messages-per-day","kind":"quota","unit":"MESSAGES","amount":25000,"window":"DAY","on_outage":"ALLOW","reaction":"DROP"}]', 'FREE', '', '[]', 1, 1793491200000007, 1793491200000007),
	('async-bronze', 'AsyncBronze', 'asyncbronze', 'asyncbronze', TRUE, '5000 messages a day.',
		'[{"name":"messages-per-day","kind":"quota","unit":"MESSAGES","amount":5000,"window":"DAY","on_outage":"ALLOW","reaction":"DROP"}]', 'FREE', '', '[]', 1, 1793491200000008, 1793491200000008),
	('async-default-subscriptionless', 'AsyncDefaultSubscriptionless', 'asyncdefaultsubscriptionless', 'asyncdefaultsubscriptionless', TRUE, '10000 messages a day for an application without a subscription.',
		'[{"name":"messages-per-day","kind":"quota","unit":"MESSAGES","amount":10000,"window":"DAY","on_outage":"ALLOW","reaction":"DROP"}]', 'FREE', '', '[]', 1, 1793491200000009, 1793491200000009);
-- +goose StatementEnd
