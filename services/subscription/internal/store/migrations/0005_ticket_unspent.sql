-- +goose Up
-- +goose StatementBegin
-- Each purchase counts the tickets of a credential that are not spent. Those that are spent
-- stay until they expire, and with many of them the count has to leave them out.
DROP INDEX ticket_grant;
CREATE INDEX ticket_unspent ON ticket (grant_id, expires_at) WHERE attempt = '';
-- +goose StatementEnd
