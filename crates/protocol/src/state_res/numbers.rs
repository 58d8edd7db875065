//! Hash maps over the numbers of an [`AuthGraph`](super::AuthGraph). The graph assigns them itself, so the hash needs
//! no secret.

pub(super) type NumberMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::FixedState>;
