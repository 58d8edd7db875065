-- The passwords that the requests of a user-interactive authentication session gave, sealed with a key that only the
-- process has that got them.
ALTER TABLE ui_auth_sessions ADD COLUMN sealed TEXT;
