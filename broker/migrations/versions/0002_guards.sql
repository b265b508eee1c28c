-- What no code path may break, continued: content is immutable once closed, names keep their meaning, containers
-- have no cycles, and what storages and owners use is counted by the statement that changes it.

CREATE FUNCTION dataset_guarded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.scope, NEW.name, NEW.version, NEW.kind) IS DISTINCT FROM (OLD.scope, OLD.name, OLD.version, OLD.kind) THEN
        RAISE EXCEPTION 'dataset % keeps its name, version and kind', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
        ('open', 'closed'), ('open', 'deleted'), ('closed', 'deleted')
    ) THEN
        RAISE EXCEPTION 'dataset %:% cannot go from % to %', OLD.scope, OLD.name, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER dataset_guarded BEFORE UPDATE OF scope, name, version, kind, state ON dataset
    FOR EACH ROW EXECUTE FUNCTION dataset_guarded();

CREATE FUNCTION file_guarded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.scope, NEW.name, NEW.guid, NEW.bytes, NEW.adler32)
       IS DISTINCT FROM (OLD.scope, OLD.name, OLD.guid, OLD.bytes, OLD.adler32)
       OR NEW.md5 IS DISTINCT FROM OLD.md5 AND OLD.md5 IS NOT NULL THEN
        RAISE EXCEPTION 'the content of file %:% does not change', OLD.scope, OLD.name
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER file_guarded BEFORE UPDATE OF scope, name, guid, bytes, adler32, md5 ON file
    FOR EACH ROW EXECUTE FUNCTION file_guarded();

-- Nothing joins a dataset that is not open; members leave an open one, or all of them one that is deleted.
CREATE OR REPLACE FUNCTION dataset_file_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM changed c JOIN dataset d ON d.id = c.dataset_id
               WHERE d.state = 'closed' OR d.kind = 'container' OR (TG_OP = 'INSERT' AND d.state <> 'open')) THEN
        RAISE EXCEPTION 'the content of a closed dataset does not change, and a container has no files'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

-- Two transactions that each add a half of a cycle wait for each other at the lock.
CREATE FUNCTION dataset_child_added() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bad record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('prodchain containers'));
    SELECT d.scope, d.name INTO bad FROM changed c JOIN dataset d ON d.id = c.parent_id
        WHERE d.kind <> 'container' OR d.state <> 'open' LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '%:% is no open container', bad.scope, bad.name USING ERRCODE = 'check_violation';
    END IF;
    WITH RECURSIVE below (root, id) AS (
        SELECT parent_id, child_id FROM changed
        UNION
        SELECT below.root, c.child_id FROM below JOIN dataset_child c ON c.parent_id = below.id
    )
    SELECT d.scope, d.name INTO bad FROM below JOIN dataset d ON d.id = below.root WHERE below.root = below.id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '%:% would contain itself', bad.scope, bad.name USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER dataset_child_added AFTER INSERT ON dataset_child
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION dataset_child_added();

CREATE FUNCTION dataset_child_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM changed c JOIN dataset d ON d.id = c.parent_id WHERE d.state = 'closed') THEN
        RAISE EXCEPTION 'the content of a closed container does not change' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER dataset_child_removed AFTER DELETE ON dataset_child
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION dataset_child_removed();

-- What is in a dataset is added and taken out, one way each, which the triggers above watch.
CREATE FUNCTION content_guarded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the content of datasets is added and removed: no %', lower(TG_OP)
        USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER dataset_file_guarded BEFORE UPDATE OR TRUNCATE ON dataset_file
    FOR EACH STATEMENT EXECUTE FUNCTION content_guarded();

CREATE TRIGGER dataset_child_guarded BEFORE UPDATE OR TRUNCATE ON dataset_child
    FOR EACH STATEMENT EXECUTE FUNCTION content_guarded();

CREATE FUNCTION replica_counted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sign int := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
BEGIN
    INSERT INTO storage_use (storage_id, files, bytes)
        SELECT c.storage_id, sign * count(*), sign * sum(f.bytes)
        FROM changed c JOIN file f ON f.id = c.file_id GROUP BY c.storage_id;
    RETURN NULL;
END $$;

CREATE TRIGGER replica_added AFTER INSERT ON replica
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION replica_counted();

CREATE TRIGGER replica_removed AFTER DELETE ON replica
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION replica_counted();

-- What the system makes for itself is nobody's quota.
CREATE FUNCTION dataset_replica_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO owner_use (owner, storage_id, bytes)
        SELECT d.owner, c.storage_id, sum(c.bytes) FROM new_rows c JOIN dataset d ON d.id = c.dataset_id
        WHERE d.kind NOT IN ('dispatch', 'sub') GROUP BY d.owner, c.storage_id HAVING sum(c.bytes) <> 0;
    RETURN NULL;
END $$;

CREATE FUNCTION dataset_replica_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO owner_use (owner, storage_id, bytes)
        SELECT d.owner, c.storage_id, sum(c.bytes) FROM (
            SELECT dataset_id, storage_id, bytes FROM new_rows
            UNION ALL
            SELECT dataset_id, storage_id, -bytes FROM old_rows
        ) c JOIN dataset d ON d.id = c.dataset_id
        WHERE d.kind NOT IN ('dispatch', 'sub') GROUP BY d.owner, c.storage_id HAVING sum(c.bytes) <> 0;
    RETURN NULL;
END $$;

CREATE FUNCTION dataset_replica_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO owner_use (owner, storage_id, bytes)
        SELECT d.owner, c.storage_id, -sum(c.bytes) FROM old_rows c JOIN dataset d ON d.id = c.dataset_id
        WHERE d.kind NOT IN ('dispatch', 'sub') GROUP BY d.owner, c.storage_id HAVING sum(c.bytes) <> 0;
    RETURN NULL;
END $$;

CREATE TRIGGER dataset_replica_added AFTER INSERT ON dataset_replica
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION dataset_replica_added();

CREATE TRIGGER dataset_replica_updated AFTER UPDATE ON dataset_replica
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION dataset_replica_updated();

CREATE TRIGGER dataset_replica_removed AFTER DELETE ON dataset_replica
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION dataset_replica_removed();

INSERT INTO storage_use (storage_id, files, bytes)
    SELECT r.storage_id, count(*), sum(f.bytes) FROM replica r JOIN file f ON f.id = r.file_id GROUP BY r.storage_id;

INSERT INTO owner_use (owner, storage_id, bytes)
    SELECT d.owner, r.storage_id, sum(r.bytes) FROM dataset_replica r JOIN dataset d ON d.id = r.dataset_id
    WHERE d.kind NOT IN ('dispatch', 'sub') GROUP BY d.owner, r.storage_id;
