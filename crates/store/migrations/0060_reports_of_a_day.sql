-- The reports of one user within a day are counted.
DROP INDEX reports_by_reporter;
CREATE INDEX reports_by_reporter_and_time ON reports (reporter, received_ts);
