-- What no code path may break, whoever writes: states change only along known ways, every change leaves an event,
-- counters and the narrow tables (unplaced, ready) follow the state, and a job is activated only when each of its
-- inputs has a verified replica at its queue's storage.

CREATE FUNCTION job_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM new_rows WHERE state <> 'defined') THEN
        RAISE EXCEPTION 'a new job is defined, nothing else' USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO event (task_id, job_id, state, actor, reason)
        SELECT task_id, id, state, actor, reason FROM new_rows ORDER BY id;
    INSERT INTO job_count (task_id, queue_id, state, jobs, events)
        SELECT task_id, queue_id, state, count(*), sum(events) FROM new_rows GROUP BY task_id, queue_id, state;
    INSERT INTO unplaced (job_id, task_id) SELECT id, task_id FROM new_rows ORDER BY id;
    PERFORM pg_notify('prodchain_work', 'place'),
            pg_notify('prodchain_task', task_id::text) FROM (SELECT DISTINCT task_id FROM new_rows) AS tasks;
    RETURN NULL;
END $$;

CREATE TRIGGER job_inserted AFTER INSERT ON job
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION job_inserted();

CREATE FUNCTION job_updated() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bad record;
BEGIN
    IF NOT EXISTS (SELECT FROM old_rows o JOIN new_rows n USING (id) WHERE o.state <> n.state) THEN
        RETURN NULL;
    END IF;

    SELECT n.id, o.state AS before, n.state INTO bad
        FROM old_rows o JOIN new_rows n USING (id)
        WHERE o.state <> n.state
          AND NOT EXISTS (SELECT FROM job_way w WHERE w.before = o.state AND w.state = n.state) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'job % cannot go from % to %', bad.id, bad.before, bad.state
            USING ERRCODE = 'check_violation';
    END IF;

    SELECT n.id, i.file_id INTO bad
        FROM new_rows n
        JOIN old_rows o ON o.id = n.id AND o.state <> 'activated'
        LEFT JOIN queue q ON q.id = n.queue_id
        LEFT JOIN job_input i ON i.job_id = n.id
        LEFT JOIN replica r ON r.file_id = i.file_id AND r.storage_id = q.storage_id
        WHERE n.state = 'activated'
          AND (q.id IS NULL OR (i.file_id IS NOT NULL AND r.file_id IS NULL)) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'job % cannot be activated: file % has no verified replica at its queue''s storage',
            bad.id, bad.file_id USING ERRCODE = 'check_violation';
    END IF;

    INSERT INTO event (task_id, job_id, before, state, actor, reason)
        SELECT n.task_id, n.id, o.state, n.state, n.actor, n.reason
        FROM old_rows o JOIN new_rows n USING (id) WHERE o.state <> n.state ORDER BY n.id;

    INSERT INTO job_count (task_id, queue_id, state, jobs, events)
        SELECT task_id, queue_id, state, sum(jobs), sum(events) FROM (
            SELECT o.task_id, o.queue_id, o.state, -1 AS jobs, -o.events AS events
                FROM old_rows o JOIN new_rows n USING (id) WHERE o.state <> n.state
            UNION ALL
            SELECT n.task_id, n.queue_id, n.state, 1, n.events
                FROM old_rows o JOIN new_rows n USING (id) WHERE o.state <> n.state
        ) AS change GROUP BY task_id, queue_id, state;

    DELETE FROM unplaced u USING new_rows n, old_rows o
        WHERE u.job_id = n.id AND o.id = n.id AND o.state = 'defined' AND n.state <> 'defined';
    DELETE FROM ready r USING new_rows n, old_rows o
        WHERE r.job_id = n.id AND o.id = n.id AND o.state = 'activated' AND n.state <> 'activated';
    INSERT INTO unplaced (job_id, task_id)
        SELECT n.id, n.task_id FROM new_rows n JOIN old_rows o USING (id)
        WHERE n.state = 'defined' AND o.state <> 'defined';
    INSERT INTO ready (job_id, queue_id, priority)
        SELECT n.id, n.queue_id, n.priority FROM new_rows n JOIN old_rows o USING (id)
        WHERE n.state = 'activated' AND o.state <> 'activated';

    PERFORM pg_notify('prodchain_ready', queue_id::text) FROM (
        SELECT DISTINCT n.queue_id FROM new_rows n JOIN old_rows o USING (id)
        WHERE n.state = 'activated' AND o.state <> 'activated') AS queues;
    PERFORM pg_notify('prodchain_work', 'close') WHERE EXISTS (
        SELECT FROM new_rows WHERE state IN ('finished', 'failed', 'cancelled', 'closed'));
    PERFORM pg_notify('prodchain_task', task_id::text) FROM (SELECT DISTINCT task_id FROM new_rows) AS tasks;
    RETURN NULL;
END $$;

CREATE TRIGGER job_updated AFTER UPDATE ON job
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION job_updated();

CREATE FUNCTION task_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.state = OLD.state THEN
            RETURN NULL;
        END IF;
        IF NOT EXISTS (SELECT FROM task_way w WHERE w.before = OLD.state AND w.state = NEW.state) THEN
            RAISE EXCEPTION 'task % cannot go from % to %', NEW.id, OLD.state, NEW.state
                USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    INSERT INTO event (task_id, before, state, actor, reason)
        VALUES (NEW.id, CASE WHEN TG_OP = 'UPDATE' THEN OLD.state END, NEW.state, NEW.actor, NEW.reason);
    PERFORM pg_notify('prodchain_task', NEW.id::text);
    RETURN NULL;
END $$;

CREATE TRIGGER task_changed AFTER INSERT OR UPDATE ON task FOR EACH ROW EXECUTE FUNCTION task_changed();

-- A closed dataset is a fact that others build on: nothing joins or leaves it.
CREATE FUNCTION dataset_file_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM changed c JOIN dataset d ON d.id = c.dataset_id WHERE d.state = 'closed') THEN
        RAISE EXCEPTION 'the content of a closed dataset does not change' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER dataset_file_added AFTER INSERT ON dataset_file
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION dataset_file_changed();

CREATE TRIGGER dataset_file_removed AFTER DELETE ON dataset_file
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION dataset_file_changed();
