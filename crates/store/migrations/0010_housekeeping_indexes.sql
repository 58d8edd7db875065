-- What is looked for once an hour to be forgotten.
CREATE INDEX access_tokens_expiry ON access_tokens (valid_until_ts) WHERE valid_until_ts IS NOT NULL;
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (valid_until_ts) WHERE valid_until_ts IS NOT NULL;
CREATE INDEX refresh_tokens_session_expiry ON refresh_tokens (session_until_ts) WHERE session_until_ts IS NOT NULL;
CREATE INDEX login_tokens_expiry ON login_tokens (valid_until_ts);
CREATE INDEX openid_tokens_expiry ON openid_tokens (valid_until_ts);
CREATE INDEX transaction_ids_created ON transaction_ids (created_ts);
