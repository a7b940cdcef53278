-- `user` is a word of PostgreSQL's.
ALTER TABLE sessions RENAME COLUMN user TO user_id;
ALTER TABLE grants RENAME COLUMN user TO user_id;
ALTER TABLE access_tokens RENAME COLUMN user TO user_id;
