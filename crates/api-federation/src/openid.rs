//! OpenID tokens: a third party asks who a user is.

pub(crate) mod get_openid_userinfo;
