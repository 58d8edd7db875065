-- The change of a device of the same user before this one: other servers learn from it whether they missed one.
ALTER TABLE device_list_changes ADD COLUMN previous BIGINT;
