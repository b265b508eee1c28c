-- What tasks of a group made, in any version, is on the group's account; so far it was on that of who submitted them.
UPDATE dataset d SET charged = 'group:' || made.group_name
FROM (
    SELECT DISTINCT o.scope, o.name, t.group_name FROM task t
    JOIN task_output f ON f.task_id = t.id JOIN dataset o ON o.id = f.dataset_id
    WHERE t.group_name <> '' AND o.kind NOT IN ('dispatch', 'sub')
) made WHERE d.scope = made.scope AND d.name = made.name;

INSERT INTO owner_use (owner, storage_id, bytes)
    SELECT moved.owner, moved.storage_id, sum(moved.bytes) FROM (
        SELECT d.owner, r.storage_id, -r.bytes AS bytes FROM dataset d JOIN dataset_replica r ON r.dataset_id = d.id
        WHERE d.charged IS NOT NULL
        UNION ALL
        SELECT d.charged, r.storage_id, r.bytes FROM dataset d JOIN dataset_replica r ON r.dataset_id = d.id
        WHERE d.charged IS NOT NULL
    ) moved GROUP BY moved.owner, moved.storage_id HAVING sum(moved.bytes) <> 0;

UPDATE task SET throttled_by = 'work' WHERE throttled <> '';

-- What the system makes for itself is nobody's quota.
CREATE OR REPLACE FUNCTION dataset_replica_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO owner_use (owner, storage_id, bytes)
        SELECT coalesce(d.charged, d.owner), c.storage_id, sum(c.bytes)
        FROM new_rows c JOIN dataset d ON d.id = c.dataset_id
        WHERE d.kind NOT IN ('dispatch', 'sub') GROUP BY 1, c.storage_id HAVING sum(c.bytes) <> 0;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION dataset_replica_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO owner_use (owner, storage_id, bytes)
        SELECT coalesce(d.charged, d.owner), c.storage_id, sum(c.bytes) FROM (
            SELECT dataset_id, storage_id, bytes FROM new_rows
            UNION ALL
            SELECT dataset_id, storage_id, -bytes FROM old_rows
        ) c JOIN dataset d ON d.id = c.dataset_id
        WHERE d.kind NOT IN ('dispatch', 'sub') GROUP BY 1, c.storage_id HAVING sum(c.bytes) <> 0;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION dataset_replica_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO owner_use (owner, storage_id, bytes)
        SELECT coalesce(d.charged, d.owner), c.storage_id, -sum(c.bytes)
        FROM old_rows c JOIN dataset d ON d.id = c.dataset_id
        WHERE d.kind NOT IN ('dispatch', 'sub') GROUP BY 1, c.storage_id HAVING sum(c.bytes) <> 0;
    RETURN NULL;
END $$;

-- With files the account stays: what they use is counted on it, by statements that do not wait for each other.
CREATE FUNCTION dataset_account_guarded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'dataset %:% has files: it stays on its account', OLD.scope, OLD.name
        USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER dataset_account_guarded BEFORE UPDATE OF owner, charged ON dataset FOR EACH ROW
    WHEN (OLD.files > 0 AND OLD.kind NOT IN ('dispatch', 'sub')
          AND (OLD.owner, OLD.charged) IS DISTINCT FROM (NEW.owner, NEW.charged))
    EXECUTE FUNCTION dataset_account_guarded();
