-- The column is called what the rest of the program calls it.
ALTER TABLE partial_joins RENAME COLUMN told_position TO visible_position;
