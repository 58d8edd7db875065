//! OpenID tokens: a third party asks who a user is.

pub mod get_openid_userinfo;
