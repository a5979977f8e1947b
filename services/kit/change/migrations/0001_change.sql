-- +goose Up
-- The engine takes the whole file at once: goose would look for the end of each statement,
-- with 4 MiB for each line where its pool is empty.
-- +goose StatementBegin
-- One row. Whoever writes a change raises n first, and so holds the row until the
-- commit. The epoch names this history; it is empty before the first change and the
-- first watch.
CREATE TABLE change_counter (
    id    BIGINT PRIMARY KEY CHECK (id = 1),
    n     BIGINT NOT NULL,
    epoch TEXT COLLATE "C" NOT NULL
);
INSERT INTO change_counter (id, n, epoch) VALUES (1, 0, '');

CREATE TABLE change (
    number   BIGINT PRIMARY KEY,
    actor    TEXT COLLATE "C" NOT NULL,
    action   TEXT COLLATE "C" NOT NULL,
    resource TEXT COLLATE "C" NOT NULL,
    -- What users called the two then: they may be gone since.
    actor_label    TEXT COLLATE "C" NOT NULL,
    resource_label TEXT COLLATE "C" NOT NULL,
    time_us  BIGINT NOT NULL,
    -- What watchers receive, or null.
    events   BYTEA,
    -- A tidegate.change.v1.Change that has only field_changes, or null.
    fields   BYTEA
);
CREATE INDEX change_time_us ON change (time_us);
CREATE INDEX change_actor ON change (actor, number);
CREATE INDEX change_actor_label ON change (actor_label, number);
CREATE INDEX change_resource ON change (resource, number);
CREATE INDEX change_resource_label ON change (resource_label, number);

-- Who watches: one row for each instance.
CREATE TABLE change_watcher (
    instance        TEXT COLLATE "C" PRIMARY KEY,
    -- The newest stream of the instance; only it writes the row.
    stream          TEXT COLLATE "C" NOT NULL,
    kind            TEXT COLLATE "C" NOT NULL,
    build           TEXT COLLATE "C" NOT NULL,
    address         TEXT COLLATE "C" NOT NULL,
    -- A list in JSON.
    features        TEXT COLLATE "C" NOT NULL,
    applied         BIGINT NOT NULL,
    sessions_closed BIGINT NOT NULL,
    failure         TEXT COLLATE "C" NOT NULL,
    connected       BOOLEAN NOT NULL,
    seen_us         BIGINT NOT NULL
);
-- +goose StatementEnd
