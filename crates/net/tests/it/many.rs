//! Many servers at once.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::support::{A, Server, World, get, json, server};

#[tokio::test]
async fn connections_to_five_thousand_servers_stay_within_their_bound() {
    let mut world = World::new();
    world.http.max_connections = 40;
    let at = Server::start(&world.authority, &["*.many.example"], |_| json("{}")).await;
    world.names.every_host(at.address);
    let client = world.client().await;
    let mut calls = JoinSet::new();
    for number in 0..5_000 {
        let client = Arc::clone(&client);
        let name = server(&format!("s{number}.many.example:5"));
        calls.spawn(async move { client.call(&name, get("/")).await.map(drop) });
    }
    let mut answered = 0;
    while let Some(result) = calls.join_next().await {
        result.unwrap().unwrap();
        answered += 1;
    }
    assert_eq!((answered, at.count("/")), (5_000, 5_000));
    // The server notices an end a little after the client: a slot may be taken again before.
    assert!(at.most_open() <= 60, "{} connections were open at once", at.most_open());
}

#[tokio::test]
async fn requests_to_one_server_share_few_connections() {
    let world = World::new();
    let at = world.serve(|_| json("{}")).await;
    let client = world.client().await;
    let mut calls = JoinSet::new();
    for _ in 0..200 {
        let client = Arc::clone(&client);
        calls.spawn(async move { client.call(&server(A), get("/")).await.map(drop) });
    }
    while let Some(result) = calls.join_next().await {
        result.unwrap().unwrap();
    }
    assert!(at.most_open() <= 8, "{}", at.most_open());
}
