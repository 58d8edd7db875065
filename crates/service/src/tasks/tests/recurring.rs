//! Kinds of tasks that recur.

use std::sync::Arc;
use std::time::Duration;

use plexus_base::Clock;
use plexus_store::repo::scheduled_tasks::{self, TaskStatus};
use plexus_testkit::databases;

use super::{KIND, START_MS, Stage};
use crate::tasks::{Recurrence, TaskOutcome};

#[tokio::test]
async fn a_recurring_task_is_due_an_interval_after_the_last_one_began() {
    const INTERVAL: Duration = Duration::from_secs(3_600);
    for db in databases() {
        let clock = Clock::manual(START_MS);
        let mut stage = Stage::start_recurring(&db, &clock, Recurrence::Every(INTERVAL)).await;
        stage.nothing_runs().await;
        clock.advance(INTERVAL);
        let first = stage.run().await.task_id;
        // It takes longer than the interval: the next one is due at once, and none was lost meanwhile.
        clock.advance(2 * INTERVAL);
        stage.nothing_runs().await;
        stage.handler.finish.notify_one();
        let second = stage.run().await.task_id;
        stage.with_status(&first, TaskStatus::Complete).await;

        // However it ends there is a next one.
        stage.handler.outcomes.lock().push(TaskOutcome::Failed("bad luck".to_owned()));
        stage.handler.finish.notify_one();
        clock.advance(INTERVAL);
        let third = stage.run().await.task_id;
        stage.with_status(&second, TaskStatus::Complete).await;
        stage.with_status(&third, TaskStatus::Failed).await;
        clock.advance(INTERVAL);
        let fourth = stage.run().await.task_id;
        let (scheduler, id) = (Arc::clone(&stage.scheduler), fourth.clone());
        assert!(db.write(move |tx| scheduler.cancel(tx, &id)).await.unwrap());
        stage.with_status(&fourth, TaskStatus::Cancelled).await;
        clock.advance(INTERVAL);
        let fifth = stage.run().await.task_id;

        // After a restart the one that ran goes on, and a next one is made once.
        stage.runner.abort();
        let mut stage = Stage::start_recurring(&db, &clock, Recurrence::Every(INTERVAL)).await;
        assert_eq!(stage.run().await.task_id, fifth);
        clock.advance(INTERVAL);
        stage.nothing_runs().await;
        stage.handler.finish.notify_one();
        let sixth = stage.run().await.task_id;

        // Without the option there are no more.
        stage.handler.finish.notify_one();
        stage.with_status(&sixth, TaskStatus::Complete).await;
        let is_scheduled = async || db.read(|tx| scheduled_tasks::is_any_scheduled(tx, KIND)).await.unwrap();
        assert!(is_scheduled().await);
        let _disabled = Stage::start_recurring(&db, &clock, Recurrence::Disabled).await;
        assert!(!is_scheduled().await);
    }
}
