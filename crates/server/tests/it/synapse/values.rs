//! What a Synapse says to requests that Plexus is to answer alike: the tests of Plexus, run on it.

use plexus_testkit::Synapse;

#[tokio::test(flavor = "multi_thread")]
async fn values_are_refused_alike() {
    let Some(synapse) = Synapse::shared().await else { return };
    crate::client::event_content::values_are_refused(&synapse).await;
    crate::client::event_content::relations_and_threads(&synapse).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn push_rules_are_alike() {
    let Some(synapse) = Synapse::shared().await else { return };
    crate::client::push::set_pushrule::rules_are_as_synapse_has_them(&synapse).await;
}
