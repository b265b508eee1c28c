-- What an external catalog has to be told: nothing, until the agents switch it on by a row in recording. Rows are
-- only added here; the files and copies of a dataset are counted in dataset and dataset_replica by every statement
-- that changes them, so the triggers are there. An open dataset is told of the later the more files it has, as all of
-- them are compared; a closed one at once.

CREATE FUNCTION tell_recorder(dataset_ids bigint[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO unrecorded (dataset_id, not_before)
    SELECT id, now() + CASE WHEN state = 'open' THEN least(files / 100.0, 600) ELSE 0 END * interval '1 second'
    FROM dataset WHERE id = ANY(dataset_ids) AND kind NOT IN ('dispatch', 'sub')
$$;

CREATE FUNCTION dataset_unrecorded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM recording) THEN
        PERFORM tell_recorder((SELECT array_agg(id) FROM changed));
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION dataset_replica_unrecorded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM recording) THEN
        PERFORM tell_recorder((SELECT array_agg(DISTINCT dataset_id) FROM changed));
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION dataset_child_unrecorded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM recording) THEN
        PERFORM tell_recorder((SELECT array_agg(DISTINCT parent_id) FROM changed));
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER dataset_unrecorded_new AFTER INSERT ON dataset
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION dataset_unrecorded();

CREATE TRIGGER dataset_unrecorded_changed AFTER UPDATE ON dataset
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION dataset_unrecorded();

CREATE TRIGGER dataset_replica_unrecorded_new AFTER INSERT ON dataset_replica
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION dataset_replica_unrecorded();

CREATE TRIGGER dataset_replica_unrecorded_changed AFTER UPDATE ON dataset_replica
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION dataset_replica_unrecorded();

CREATE TRIGGER dataset_replica_unrecorded_gone AFTER DELETE ON dataset_replica
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION dataset_replica_unrecorded();

CREATE TRIGGER dataset_child_unrecorded_new AFTER INSERT ON dataset_child
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION dataset_child_unrecorded();

CREATE TRIGGER dataset_child_unrecorded_gone AFTER DELETE ON dataset_child
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION dataset_child_unrecorded();
