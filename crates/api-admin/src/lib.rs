//! api-admin
