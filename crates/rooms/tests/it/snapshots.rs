use std::collections::BTreeMap;
use std::sync::Arc;

use plexus_base::Random;
use plexus_store::DbError;
use plexus_store::repo::state_snapshots::{self, Key, Reader, Recent, SnapshotRef, Writer};

use crate::fixture::run;

type State = BTreeMap<Key, i64>;

/// A tree of snapshots, each a change of an earlier one, written in batches of any size, reads as the plain maps do.
#[test]
fn a_tree_of_snapshots_reads_as_plain_maps() {
    run(|db| async move {
        for seed in 0..4 {
            let random = Random::seeded(seed);
            // One that remembers everything, two that forget, one that remembers nothing.
            let recent = Arc::new(Recent::new([1 << 20, 4_000, 1_000, 0][seed as usize]));
            let mut all: Vec<(SnapshotRef, State)> = vec![(SnapshotRef::EMPTY, State::new())];
            while all.len() < 250 {
                let mut batch = Vec::new();
                for _ in 0..=random.below(12) {
                    // Mostly a chain, as in a room; sometimes a branch.
                    let known = all.len() as u64;
                    let parent = if random.below(8) == 0 { random.below(known) } else { known - 1 };
                    let (parent, mut state) = all[parent as usize].clone();
                    let nid = 1_000 * (seed as i64 + 1) + known as i64;
                    let change = ((random.below(3) as i64, random.below(30) as i64), random.below(1 << 40) as i64);
                    state.insert(change.0, change.1);
                    all.push((SnapshotRef { nid, depth: parent.depth + 1 }, state));
                    batch.push((parent, nid, change));
                }
                let with = Arc::clone(&recent);
                let write = db.write(move |tx| {
                    let mut writer = Writer::with(with);
                    for (parent, nid, change) in batch {
                        let next = parent.child(nid, 1);
                        writer.add(tx, 1, parent, next, [change])?;
                    }
                    writer.finish(tx)
                });
                recent.keep(write.await.unwrap());
            }
            for (snapshot, expected) in all {
                let (state, depth, singly) = db
                    .read(move |tx| {
                        let depth = state_snapshots::depth(tx, snapshot.nid)?;
                        let mut reader = Reader::default();
                        let mut singly = State::new();
                        for key in (0..3).flat_map(|event_type| (0..30).map(move |key| (event_type, key))) {
                            if let Some(event) = reader.get(tx, snapshot.nid, key)? {
                                singly.insert(key, event);
                            }
                        }
                        Ok::<_, DbError>((state_snapshots::read(tx, snapshot.nid)?, depth, singly))
                    })
                    .await
                    .unwrap();
                assert_eq!(singly, state, "key by key");
                assert_eq!((state, depth), (expected, snapshot.depth), "seed {seed}, {snapshot:?}");
            }
        }
    });
}
