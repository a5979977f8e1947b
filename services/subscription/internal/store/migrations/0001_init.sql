-- +goose Up
-- The engine takes the whole file at once: goose would look for the end of each statement,
-- with 4 MiB for each line where its pool is empty.
-- +goose StatementBegin
-- One row: what is fixed at the first start.
CREATE TABLE installation (
    id         BIGINT PRIMARY KEY CHECK (id = 1),
    issuer     TEXT COLLATE "C" NOT NULL,
    -- A known text, sealed: tells the right master key from a wrong one.
    canary     BYTEA NOT NULL,
    -- What refresh tokens are authenticated with, sealed.
    refresh_key BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE signing_key (
    -- 1, 2, 3, …: the key after number n is n + 1, whoever makes it.
    number       BIGINT PRIMARY KEY,
    id           TEXT COLLATE "C" NOT NULL UNIQUE,
    sealed       BYTEA NOT NULL,
    signs_at     BIGINT NOT NULL,
    -- Longest life, in microseconds, of the tokens that it signs.
    max_lifetime BIGINT NOT NULL
);

CREATE TABLE users (
    id            TEXT COLLATE "C" PRIMARY KEY,
    username      TEXT COLLATE "C" NOT NULL,
    username_fold TEXT COLLATE "C" NOT NULL UNIQUE,
    display_name  TEXT COLLATE "C" NOT NULL,
    -- Words of admin, creator, publisher, subscriber, with a space between.
    roles         TEXT COLLATE "C" NOT NULL,
    admin         BOOLEAN NOT NULL,
    -- 1 active, 2 suspended, 3 pending.
    state         BIGINT NOT NULL CHECK (state IN (1, 2, 3)),
    -- What a query looks in: the username and the display name, both folded, with a line
    -- end between.
    search        TEXT COLLATE "C" NOT NULL,
    -- argon2id with its parameters; empty for nobody's.
    password      TEXT COLLATE "C" NOT NULL,
    signed_in_at  BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    etag          BIGINT NOT NULL
);
CREATE INDEX users_created ON users (created_at, id);
CREATE INDEX users_username ON users (username_fold, id);
CREATE INDEX users_state ON users (state, created_at, id);

-- Access that ended before its tokens expire: of a user (users/…) or a sign-in
-- (users/…/signIns/…). Tokens that were issued before the change give none.
CREATE TABLE ended_access (
    name          TEXT COLLATE "C" PRIMARY KEY,
    change_number BIGINT NOT NULL,
    -- When the last of these tokens has expired.
    expires_at    BIGINT NOT NULL
);
CREATE INDEX ended_access_expires ON ended_access (expires_at);

-- Failed sign-ins of a name from a place, or from all networks where the place is
-- empty, as the time until which they count. Sign-ups from a place count as those of no
-- name.
CREATE TABLE sign_in_failure (
    username_fold TEXT COLLATE "C" NOT NULL,
    place         TEXT COLLATE "C" NOT NULL,
    penalty_until BIGINT NOT NULL,
    PRIMARY KEY (username_fold, place)
);
CREATE INDEX sign_in_failure_until ON sign_in_failure (penalty_until);

-- Devices that users have signed in from; only the hash of a device's key is stored.
CREATE TABLE device (
    hash    BYTEA PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    used_at BIGINT NOT NULL
);
CREATE INDEX device_user ON device (user_id, used_at);
CREATE INDEX device_used ON device (used_at);

CREATE TABLE sign_in (
    id             TEXT COLLATE "C" PRIMARY KEY,
    user_id        TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- How often it was refreshed: the refresh token of this generation is the newest.
    generation     BIGINT NOT NULL,
    client_address TEXT COLLATE "C" NOT NULL,
    -- The hash of the device that the user signed in from, or NULL.
    device         BYTEA,
    created_at     BIGINT NOT NULL,
    refreshed_at   BIGINT NOT NULL,
    expires_at     BIGINT NOT NULL,
    -- When its newest refresh tokens were spent, oldest first, with a space between.
    spent_at       TEXT COLLATE "C" NOT NULL
);
CREATE INDEX sign_in_user ON sign_in (user_id, created_at, id);
CREATE INDEX sign_in_expires ON sign_in (expires_at);

CREATE TABLE application (
    id           TEXT COLLATE "C" PRIMARY KEY,
    owner        TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    display_name TEXT COLLATE "C" NOT NULL,
    name_fold    TEXT COLLATE "C" NOT NULL,
    -- Names that look alike have the same skeleton (package uniquename).
    name_skeleton TEXT COLLATE "C" NOT NULL,
    name_ascii   BOOLEAN NOT NULL,
    description  TEXT COLLATE "C" NOT NULL,
    -- The name of a plan; empty for none.
    plan         TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    etag         BIGINT NOT NULL,
    UNIQUE (owner, name_fold)
);
CREATE INDEX application_created ON application (created_at, id, name_fold);
CREATE INDEX application_name ON application (name_fold, id);
CREATE INDEX application_owner ON application (owner, created_at, id);
CREATE INDEX application_plan ON application (plan) WHERE plan <> '';

CREATE TABLE oauth_client (
    id          TEXT COLLATE "C" PRIMARY KEY,
    application TEXT COLLATE "C" NOT NULL REFERENCES application (id) ON DELETE CASCADE,
    -- 1 production, 2 sandbox.
    stage       BIGINT NOT NULL CHECK (stage IN (1, 2)),
    client_id   TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    etag        BIGINT NOT NULL,
    UNIQUE (application, stage)
);

CREATE TABLE oauth_client_secret (
    id           TEXT COLLATE "C" PRIMARY KEY,
    oauth_client TEXT COLLATE "C" NOT NULL REFERENCES oauth_client (id) ON DELETE CASCADE,
    hash         BYTEA NOT NULL,
    created_at   BIGINT NOT NULL,
    -- 0 for never.
    expires_at   BIGINT NOT NULL
);
CREATE INDEX oauth_client_secret_client ON oauth_client_secret (oauth_client, created_at, id);
CREATE INDEX oauth_client_secret_expires ON oauth_client_secret (expires_at);

-- What the catalog says about versions.
CREATE TABLE version (
    name      TEXT COLLATE "C" PRIMARY KEY,
    api       TEXT COLLATE "C" NOT NULL,
    api_name  TEXT COLLATE "C" NOT NULL,
    version   TEXT COLLATE "C" NOT NULL,
    -- That of the API.
    context   TEXT COLLATE "C" NOT NULL,
    owner     TEXT COLLATE "C" NOT NULL,
    published BOOLEAN NOT NULL,
    -- Names of the plans on offer, with a space between.
    plans     TEXT COLLATE "C" NOT NULL,
    -- Whether applications need no subscription.
    subscriptionless BOOLEAN NOT NULL,
    -- Whether it has an endpoint of the stage.
    production BOOLEAN NOT NULL,
    sandbox    BOOLEAN NOT NULL,
    -- That of the catalog's change that made it so.
    change_number BIGINT NOT NULL,
    UNIQUE (name, owner)
);
CREATE INDEX version_owner ON version (owner);
CREATE INDEX version_context ON version (context);

-- What the catalog says about plans.
CREATE TABLE plan (
    name         TEXT COLLATE "C" PRIMARY KEY,
    display_name TEXT COLLATE "C" NOT NULL
);

-- One row: how far the catalog's changes have been applied, and the addresses of the
-- gateways, with a space between.
CREATE TABLE catalog_cursor (
    id     BIGINT PRIMARY KEY CHECK (id = 1),
    number BIGINT NOT NULL,
    cursor TEXT COLLATE "C" NOT NULL,
    gateways TEXT COLLATE "C" NOT NULL
);
INSERT INTO catalog_cursor (id, number, cursor, gateways) VALUES (1, 0, '', '');

CREATE TABLE subscription (
    id          TEXT COLLATE "C" PRIMARY KEY,
    application TEXT COLLATE "C" NOT NULL REFERENCES application (id) ON DELETE CASCADE,
    version     TEXT COLLATE "C" NOT NULL,
    -- That of the version, which it follows, so that lists of an owner's are found in order.
    version_owner     TEXT COLLATE "C" NOT NULL,
    -- That of the application, which never changes.
    application_owner TEXT COLLATE "C" NOT NULL,
    plan        TEXT COLLATE "C" NOT NULL,
    blocked     BOOLEAN NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    etag        BIGINT NOT NULL,
    UNIQUE (application, version),
    FOREIGN KEY (version, version_owner) REFERENCES version (name, owner) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX subscription_plan ON subscription (plan);
CREATE INDEX subscription_created ON subscription (created_at, id);
CREATE INDEX subscription_version ON subscription (version, created_at, id);
CREATE INDEX subscription_version_owner ON subscription (version_owner, created_at, id);
CREATE INDEX subscription_application_owner ON subscription (application_owner, created_at, id);
CREATE INDEX subscription_blocked ON subscription (version, created_at, id) WHERE blocked;

-- Tokens taken back before their end.
CREATE TABLE revocation (
    id         TEXT COLLATE "C" PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX revocation_expires ON revocation (expires_at);

-- Owners of applications and versions that are gone, for what gateways report
-- about them afterwards, and for the usage and session records of such versions.
CREATE TABLE former_owner (
    name     TEXT COLLATE "C" PRIMARY KEY,
    owner    TEXT COLLATE "C" NOT NULL,
    ended_at BIGINT NOT NULL
);
CREATE INDEX former_owner_ended ON former_owner (ended_at);
CREATE INDEX former_owner_owner ON former_owner (owner);

-- What users called users, applications and versions that are gone, for the usage and
-- session records of them.
CREATE TABLE former_name (
    name           TEXT COLLATE "C" PRIMARY KEY,
    -- Of a version, that of its API.
    display_name   TEXT COLLATE "C" NOT NULL,
    -- Empty where it is no version.
    version_string TEXT COLLATE "C" NOT NULL,
    ended_at       BIGINT NOT NULL
);
CREATE INDEX former_name_ended ON former_name (ended_at);

-- The last batch taken in, of each start of each gateway.
CREATE TABLE batch (
    gateway  TEXT COLLATE "C" NOT NULL,
    boot_id  TEXT COLLATE "C" NOT NULL,
    kind     TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    taken_at BIGINT NOT NULL,
    PRIMARY KEY (gateway, boot_id, kind)
);
CREATE INDEX batch_taken ON batch (taken_at);

-- What usage is counted by. Who owns a version is not written here, where it would have to
-- follow its owner.
CREATE TABLE usage_series (
    -- Random.
    id                BIGINT PRIMARY KEY,
    api               TEXT COLLATE "C" NOT NULL,
    version           TEXT COLLATE "C" NOT NULL,
    application       TEXT COLLATE "C" NOT NULL,
    subscription      TEXT COLLATE "C" NOT NULL,
    plan              TEXT COLLATE "C" NOT NULL,
    application_owner TEXT COLLATE "C" NOT NULL,
    -- The start of the day in which usage was reported last.
    seen_at           BIGINT NOT NULL,
    UNIQUE (version, application, subscription, plan)
);
CREATE INDEX usage_series_api ON usage_series (api);
CREATE INDEX usage_series_application ON usage_series (application);
CREATE INDEX usage_series_subscription ON usage_series (subscription);
CREATE INDEX usage_series_application_owner ON usage_series (application_owner);
CREATE INDEX usage_series_seen ON usage_series (seen_at);

-- Usage of a series in spans of time: minutes, hours, days and 20 days, all counted from
-- 1970. Each has all of the usage, as long as it is kept.
CREATE TABLE usage_minute (
    series       BIGINT NOT NULL,
    start_at     BIGINT NOT NULL,
    sessions     BIGINT NOT NULL,
    in_messages  BIGINT NOT NULL,
    in_frames    BIGINT NOT NULL,
    in_payload   BIGINT NOT NULL,
    in_wire      BIGINT NOT NULL,
    out_messages BIGINT NOT NULL,
    out_frames   BIGINT NOT NULL,
    out_payload  BIGINT NOT NULL,
    out_wire     BIGINT NOT NULL,
    PRIMARY KEY (series, start_at)
);
CREATE INDEX usage_minute_start ON usage_minute (start_at);
CREATE TABLE usage_hour (
    series       BIGINT NOT NULL,
    start_at     BIGINT NOT NULL,
    sessions     BIGINT NOT NULL,
    in_messages  BIGINT NOT NULL,
    in_frames    BIGINT NOT NULL,
    in_payload   BIGINT NOT NULL,
    in_wire      BIGINT NOT NULL,
    out_messages BIGINT NOT NULL,
    out_frames   BIGINT NOT NULL,
    out_payload  BIGINT NOT NULL,
    out_wire     BIGINT NOT NULL,
    PRIMARY KEY (series, start_at)
);
CREATE INDEX usage_hour_start ON usage_hour (start_at);
CREATE TABLE usage_day (
    series       BIGINT NOT NULL,
    start_at     BIGINT NOT NULL,
    sessions     BIGINT NOT NULL,
    in_messages  BIGINT NOT NULL,
    in_frames    BIGINT NOT NULL,
    in_payload   BIGINT NOT NULL,
    in_wire      BIGINT NOT NULL,
    out_messages BIGINT NOT NULL,
    out_frames   BIGINT NOT NULL,
    out_payload  BIGINT NOT NULL,
    out_wire     BIGINT NOT NULL,
    PRIMARY KEY (series, start_at)
);
CREATE INDEX usage_day_start ON usage_day (start_at);
CREATE TABLE usage_20_days (
    series       BIGINT NOT NULL,
    start_at     BIGINT NOT NULL,
    sessions     BIGINT NOT NULL,
    in_messages  BIGINT NOT NULL,
    in_frames    BIGINT NOT NULL,
    in_payload   BIGINT NOT NULL,
    in_wire      BIGINT NOT NULL,
    out_messages BIGINT NOT NULL,
    out_frames   BIGINT NOT NULL,
    out_payload  BIGINT NOT NULL,
    out_wire     BIGINT NOT NULL,
    PRIMARY KEY (series, start_at)
);
CREATE INDEX usage_20_days_start ON usage_20_days (start_at);

-- What limits of plans did in these spans.
CREATE TABLE usage_limit_minute (
    series    BIGINT NOT NULL,
    start_at  BIGINT NOT NULL,
    -- The number of a PlanPlace of the API.
    place     BIGINT NOT NULL,
    plan      TEXT COLLATE "C" NOT NULL,
    name      TEXT COLLATE "C" NOT NULL,
    pauses    BIGINT NOT NULL,
    paused_ms BIGINT NOT NULL,
    dropped   BIGINT NOT NULL,
    closed    BIGINT NOT NULL,
    refused   BIGINT NOT NULL,
    observed  BIGINT NOT NULL,
    -- The first and the last minute in which it did any of this.
    first_at  BIGINT NOT NULL,
    last_at   BIGINT NOT NULL,
    PRIMARY KEY (series, start_at, place, plan, name)
);
CREATE INDEX usage_limit_minute_start ON usage_limit_minute (start_at);
CREATE TABLE usage_limit_hour (
    series    BIGINT NOT NULL,
    start_at  BIGINT NOT NULL,
    -- The number of a PlanPlace of the API.
    place     BIGINT NOT NULL,
    plan      TEXT COLLATE "C" NOT NULL,
    name      TEXT COLLATE "C" NOT NULL,
    pauses    BIGINT NOT NULL,
    paused_ms BIGINT NOT NULL,
    dropped   BIGINT NOT NULL,
    closed    BIGINT NOT NULL,
    refused   BIGINT NOT NULL,
    observed  BIGINT NOT NULL,
    -- The first and the last minute in which it did any of this.
    first_at  BIGINT NOT NULL,
    last_at   BIGINT NOT NULL,
    PRIMARY KEY (series, start_at, place, plan, name)
);
CREATE INDEX usage_limit_hour_start ON usage_limit_hour (start_at);
CREATE TABLE usage_limit_day (
    series    BIGINT NOT NULL,
    start_at  BIGINT NOT NULL,
    -- The number of a PlanPlace of the API.
    place     BIGINT NOT NULL,
    plan      TEXT COLLATE "C" NOT NULL,
    name      TEXT COLLATE "C" NOT NULL,
    pauses    BIGINT NOT NULL,
    paused_ms BIGINT NOT NULL,
    dropped   BIGINT NOT NULL,
    closed    BIGINT NOT NULL,
    refused   BIGINT NOT NULL,
    observed  BIGINT NOT NULL,
    -- The first and the last minute in which it did any of this.
    first_at  BIGINT NOT NULL,
    last_at   BIGINT NOT NULL,
    PRIMARY KEY (series, start_at, place, plan, name)
);
CREATE INDEX usage_limit_day_start ON usage_limit_day (start_at);
CREATE TABLE usage_limit_20_days (
    series    BIGINT NOT NULL,
    start_at  BIGINT NOT NULL,
    -- The number of a PlanPlace of the API.
    place     BIGINT NOT NULL,
    plan      TEXT COLLATE "C" NOT NULL,
    name      TEXT COLLATE "C" NOT NULL,
    pauses    BIGINT NOT NULL,
    paused_ms BIGINT NOT NULL,
    dropped   BIGINT NOT NULL,
    closed    BIGINT NOT NULL,
    refused   BIGINT NOT NULL,
    observed  BIGINT NOT NULL,
    -- The first and the last minute in which it did any of this.
    first_at  BIGINT NOT NULL,
    last_at   BIGINT NOT NULL,
    PRIMARY KEY (series, start_at, place, plan, name)
);
CREATE INDEX usage_limit_20_days_start ON usage_limit_20_days (start_at);

-- Refused handshakes in these spans, by HTTP status.
CREATE TABLE usage_refused_minute (
    series   BIGINT NOT NULL,
    start_at BIGINT NOT NULL,
    status   BIGINT NOT NULL,
    number   BIGINT NOT NULL,
    PRIMARY KEY (series, start_at, status)
);
CREATE INDEX usage_refused_minute_start ON usage_refused_minute (start_at);
CREATE TABLE usage_refused_hour (
    series   BIGINT NOT NULL,
    start_at BIGINT NOT NULL,
    status   BIGINT NOT NULL,
    number   BIGINT NOT NULL,
    PRIMARY KEY (series, start_at, status)
);
CREATE INDEX usage_refused_hour_start ON usage_refused_hour (start_at);
CREATE TABLE usage_refused_day (
    series   BIGINT NOT NULL,
    start_at BIGINT NOT NULL,
    status   BIGINT NOT NULL,
    number   BIGINT NOT NULL,
    PRIMARY KEY (series, start_at, status)
);
CREATE INDEX usage_refused_day_start ON usage_refused_day (start_at);
CREATE TABLE usage_refused_20_days (
    series   BIGINT NOT NULL,
    start_at BIGINT NOT NULL,
    status   BIGINT NOT NULL,
    number   BIGINT NOT NULL,
    PRIMARY KEY (series, start_at, status)
);
CREATE INDEX usage_refused_20_days_start ON usage_refused_20_days (start_at);

-- How many session records of an application, or of a version and a network where none is
-- required, or of refused handshakes of an API and code, are kept for an hour, and the ref
-- of the last.
CREATE TABLE record_count (
    hour     BIGINT NOT NULL,
    bounded  TEXT COLLATE "C" NOT NULL,
    kept     BIGINT NOT NULL,
    last_ref TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (hour, bounded)
);

-- How many session records of an hour were not kept. The hour is that of their refs.
CREATE TABLE record_left_out (
    hour              BIGINT NOT NULL,
    -- Empty where there is a version.
    api               TEXT COLLATE "C" NOT NULL,
    version           TEXT COLLATE "C" NOT NULL,
    application       TEXT COLLATE "C" NOT NULL,
    application_owner TEXT COLLATE "C" NOT NULL,
    end_reason        BIGINT NOT NULL,
    code              TEXT COLLATE "C" NOT NULL,
    number            BIGINT NOT NULL,
    PRIMARY KEY (hour, api, version, application, end_reason, code)
);
CREATE INDEX record_left_out_refused ON record_left_out (hour) WHERE code <> '';

CREATE TABLE session_record (
    ref                     TEXT COLLATE "C" PRIMARY KEY,
    session                 TEXT COLLATE "C" NOT NULL,
    version                 TEXT COLLATE "C" NOT NULL,
    application             TEXT COLLATE "C" NOT NULL,
    subscription            TEXT COLLATE "C" NOT NULL,
    grant_name              TEXT COLLATE "C" NOT NULL,
    application_owner       TEXT COLLATE "C" NOT NULL,
    client_address          TEXT COLLATE "C" NOT NULL,
    -- 0 where the handshake was not answered with 101.
    started_at              BIGINT NOT NULL,
    ended_at                BIGINT NOT NULL,
    -- Numbers of the API, which may be newer than this service.
    ended_by                BIGINT NOT NULL,
    end_reason              BIGINT NOT NULL,
    close_code_from_client  BIGINT NOT NULL,
    close_code_to_client    BIGINT NOT NULL,
    close_code_from_backend BIGINT NOT NULL,
    close_code_to_backend   BIGINT NOT NULL,
    in_messages             BIGINT NOT NULL,
    in_frames               BIGINT NOT NULL,
    in_payload              BIGINT NOT NULL,
    in_wire                 BIGINT NOT NULL,
    out_messages            BIGINT NOT NULL,
    out_frames              BIGINT NOT NULL,
    out_payload             BIGINT NOT NULL,
    out_wire                BIGINT NOT NULL,
    -- 0 for none.
    last_in_at              BIGINT NOT NULL,
    last_out_at             BIGINT NOT NULL,
    truncated               BOOLEAN NOT NULL,
    route_change_number     BIGINT NOT NULL,
    -- What the end reason leaves open, in words.
    detail                  TEXT COLLATE "C" NOT NULL,
    -- How many later records of the same kind and hour were not kept.
    left_out                BIGINT NOT NULL,
    -- Of refused handshakes: 0 and empty for a session.
    status                  BIGINT NOT NULL,
    code                    TEXT COLLATE "C" NOT NULL,
    -- Empty where there is a version.
    api                     TEXT COLLATE "C" NOT NULL,
    host                    TEXT COLLATE "C" NOT NULL,
    path                    TEXT COLLATE "C" NOT NULL,
    user_agent              TEXT COLLATE "C" NOT NULL,
    plan                    TEXT COLLATE "C" NOT NULL,
    -- What limits did to the session, as JSON; empty for nothing.
    limits                  TEXT COLLATE "C" NOT NULL,
    -- The limit that ended the session or refused the handshake, as JSON; empty for none.
    deciding_limit          TEXT COLLATE "C" NOT NULL
);
CREATE INDEX session_record_ended ON session_record (ended_at, ref);
CREATE INDEX session_record_application_owner ON session_record (application_owner, ended_at);
CREATE INDEX session_record_version ON session_record (version, ended_at);
CREATE INDEX session_record_application ON session_record (application, ended_at);
CREATE INDEX session_record_api ON session_record (api, ended_at) WHERE api <> '';
CREATE INDEX session_record_refused ON session_record (ended_at) WHERE code <> '';

-- A quota in a window; quotas.go says how the amounts are related. The id is made from place,
-- application, version, unit, kind of window and observe.
CREATE TABLE quota_window (
    id                TEXT COLLATE "C" NOT NULL,
    start_at          BIGINT NOT NULL,
    end_at            BIGINT NOT NULL,
    -- Numbers of the API.
    place             BIGINT NOT NULL,
    application       TEXT COLLATE "C" NOT NULL,
    application_owner TEXT COLLATE "C" NOT NULL,
    version           TEXT COLLATE "C" NOT NULL,
    unit              BIGINT NOT NULL,
    window_kind       BIGINT NOT NULL,
    observe           BOOLEAN NOT NULL,
    -- Those that the quota was asked for with last.
    plan              TEXT COLLATE "C" NOT NULL,
    limit_name        TEXT COLLATE "C" NOT NULL,
    amount            BIGINT NOT NULL,
    added             BIGINT NOT NULL,
    -- What passed in the window while the quota was not there.
    used_before       BIGINT NOT NULL,
    -- Sums of quota_slice.
    granted           BIGINT NOT NULL,
    spent             BIGINT NOT NULL,
    -- What was spent without a slice.
    overdrawn         BIGINT NOT NULL,
    -- What a reset took back of what was used.
    cleared           BIGINT NOT NULL,
    -- The highest share, in per cent, that there is an event of.
    noted             BIGINT NOT NULL,
    PRIMARY KEY (id, start_at)
);
CREATE INDEX quota_window_end ON quota_window (end_at);
CREATE INDEX quota_window_application_owner ON quota_window (application_owner);
CREATE INDEX quota_window_version ON quota_window (version);
CREATE INDEX quota_window_list ON quota_window (application, version, unit, window_kind, id);

-- What one start of a gateway was given of a window and has spent, ever.
CREATE TABLE quota_slice (
    id       TEXT COLLATE "C" NOT NULL,
    start_at BIGINT NOT NULL,
    gateway  TEXT COLLATE "C" NOT NULL,
    boot_id  TEXT COLLATE "C" NOT NULL,
    granted  BIGINT NOT NULL,
    spent    BIGINT NOT NULL,
    -- That of the call that changed it last.
    sequence BIGINT NOT NULL,
    -- When the gateway wanted more; 0 if it did not when it called last.
    asked_at BIGINT NOT NULL,
    PRIMARY KEY (id, start_at, gateway, boot_id),
    FOREIGN KEY (id, start_at) REFERENCES quota_window (id, start_at) ON DELETE CASCADE
);

-- That a quota came to a share of its amount, with what was known of it then.
CREATE TABLE quota_event (
    id                TEXT COLLATE "C" NOT NULL,
    start_at          BIGINT NOT NULL,
    percent           BIGINT NOT NULL,
    noted_at          BIGINT NOT NULL,
    end_at            BIGINT NOT NULL,
    place             BIGINT NOT NULL,
    application       TEXT COLLATE "C" NOT NULL,
    application_owner TEXT COLLATE "C" NOT NULL,
    version           TEXT COLLATE "C" NOT NULL,
    unit              BIGINT NOT NULL,
    window_kind       BIGINT NOT NULL,
    observe           BOOLEAN NOT NULL,
    plan              TEXT COLLATE "C" NOT NULL,
    limit_name        TEXT COLLATE "C" NOT NULL,
    amount            BIGINT NOT NULL,
    added             BIGINT NOT NULL,
    used              BIGINT NOT NULL,
    overdraft         BIGINT NOT NULL,
    PRIMARY KEY (id, start_at, percent)
);
CREATE INDEX quota_event_noted ON quota_event (noted_at);
CREATE INDEX quota_event_application_owner ON quota_event (application_owner);
CREATE INDEX quota_event_version ON quota_event (version);
CREATE INDEX quota_event_application ON quota_event (application);

-- Lines of the security log, as package securitylog has them.
CREATE TABLE security_event (
    id             TEXT COLLATE "C" PRIMARY KEY,
    happened_at    BIGINT NOT NULL,
    event          TEXT COLLATE "C" NOT NULL,
    -- A resource name, empty for nobody; the subject may be what a caller has typed.
    actor          TEXT COLLATE "C" NOT NULL,
    client_address TEXT COLLATE "C" NOT NULL,
    method         TEXT COLLATE "C" NOT NULL,
    subject        TEXT COLLATE "C" NOT NULL,
    -- users/… that the subject is, is a part of or names; empty for none.
    about          TEXT COLLATE "C" NOT NULL,
    detail         TEXT COLLATE "C" NOT NULL,
    -- How many more events there were; 0 for an event.
    left_out       BIGINT NOT NULL
);
CREATE INDEX security_event_happened ON security_event (happened_at, id);
CREATE INDEX security_event_kind ON security_event (event, happened_at, id);
CREATE INDEX security_event_actor ON security_event (actor, happened_at, id);
CREATE INDEX security_event_about ON security_event (about, happened_at, id);
CREATE INDEX security_event_address ON security_event (client_address, happened_at, id);
-- +goose StatementEnd
