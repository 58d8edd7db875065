-- What is bounded in number for each user is found by user.
CREATE INDEX ui_auth_sessions_user ON ui_auth_sessions (user_id);
CREATE INDEX openid_tokens_user ON openid_tokens (user_id, valid_until_ts);
