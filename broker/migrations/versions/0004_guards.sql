-- What an older database has goes on as it was: two shares, one kind of requirement until the next attempt.
INSERT INTO share (name, value, match) VALUES
    ('production', 80, '{"activity": "production"}'), ('analysis', 20, '{"activity": "analysis"}');

INSERT INTO requirement (cores, memory_mb, walltime_s, scratch_mb, gpus, architecture)
    VALUES (1, 1000, 3600, 0, 0, '');

INSERT INTO requirement (cores, memory_mb, walltime_s)
    SELECT DISTINCT (request ->> 'cores')::int, (request ->> 'memory_mb')::int, (request ->> 'walltime_s')::int
    FROM task WHERE request ?& '{cores,memory_mb,walltime_s}' ON CONFLICT DO NOTHING;

-- Jobs that are over keep the first requirement: nothing asks for it any more.
ALTER TABLE job DISABLE TRIGGER job_updated;

UPDATE job j SET requirement_id = r.id FROM task t JOIN requirement r
    ON (r.cores, r.memory_mb, r.walltime_s, r.scratch_mb, r.gpus, r.architecture, r.software)
     = ((t.request ->> 'cores')::int, (t.request ->> 'memory_mb')::int, (t.request ->> 'walltime_s')::int,
        0, 0, '', '[]'::jsonb)
    WHERE t.id = j.task_id AND j.state NOT IN ('finished', 'failed', 'cancelled', 'closed');

ALTER TABLE job ENABLE TRIGGER job_updated;

UPDATE ready SET requirement_id = j.requirement_id FROM job j WHERE j.id = ready.job_id;

UPDATE job_count c SET share_id = 1;

UPDATE job_count c SET cores = c.jobs * coalesce((t.request ->> 'cores')::int, 1) FROM task t WHERE t.id = c.task_id;

INSERT INTO task_input (task_id, dataset_id) SELECT id, input_id FROM task WHERE input_id IS NOT NULL;

INSERT INTO task_output (task_id, dataset_id) SELECT id, output_id FROM task;

ALTER TABLE task DISABLE TRIGGER task_changed;

UPDATE task SET position = least((request ->> 'events')::bigint, numbers * (request ->> 'events_per_job')::bigint)
    WHERE input_id IS NULL AND request ->> 'events' IS NOT NULL AND request ->> 'events_per_job' IS NOT NULL;

ALTER TABLE task ENABLE TRIGGER task_changed;

UPDATE assignment a SET until = a.at, verdicts = coalesce((
    SELECT jsonb_agg(jsonb_build_object(
        'queue', v.queue_id, 'passed', v.passed, 'criterion', v.criterion, 'reason', v.reason, 'remedy', v.remedy,
        'weight', v.weight, 'missing_bytes', v.missing_bytes) ORDER BY v.queue_id)
    FROM verdict v WHERE v.assignment_id = a.id), '[]');

DROP TABLE verdict;

INSERT INTO task_way (before, state) VALUES
    ('ready', 'scouting'), ('scouting', 'running'), ('scouting', 'exhausted'), ('scouting', 'paused'),
    ('scouting', 'failed'), ('scouting', 'aborted'), ('running', 'merging'), ('running', 'exhausted'),
    ('merging', 'running'), ('merging', 'paused'), ('merging', 'done'), ('merging', 'finished'),
    ('merging', 'failed'), ('merging', 'aborted'), ('paused', 'scouting'), ('paused', 'merging'),
    ('exhausted', 'scouting'), ('exhausted', 'running'), ('exhausted', 'finished'), ('exhausted', 'failed'),
    ('exhausted', 'aborted'), ('done', 'running'), ('registered', 'paused'), ('paused', 'registered');

-- Counters know shares and cores; what a run used is noted when its pilot is through with it.
CREATE OR REPLACE FUNCTION job_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM new_rows WHERE state <> 'defined') THEN
        RAISE EXCEPTION 'a new job is defined, nothing else' USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO event (task_id, job_id, state, actor, reason)
        SELECT task_id, id, state, actor, reason FROM new_rows ORDER BY id;
    INSERT INTO job_count (task_id, queue_id, share_id, state, jobs, events, cores)
        SELECT n.task_id, n.queue_id, n.share_id, n.state, count(*), sum(n.events), sum(r.cores)
        FROM new_rows n JOIN requirement r ON r.id = n.requirement_id
        GROUP BY n.task_id, n.queue_id, n.share_id, n.state;
    INSERT INTO unplaced (job_id, task_id) SELECT id, task_id FROM new_rows ORDER BY id;
    PERFORM pg_notify('prodchain_work', 'place'),
            pg_notify('prodchain_task', task_id::text) FROM (SELECT DISTINCT task_id FROM new_rows) AS tasks;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION job_updated() RETURNS trigger LANGUAGE plpgsql AS $$
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

    INSERT INTO job_count (task_id, queue_id, share_id, state, jobs, events, cores)
        SELECT task_id, queue_id, share_id, state, sum(jobs), sum(change.events), sum(jobs * r.cores) FROM (
            SELECT o.task_id, o.queue_id, o.share_id, o.requirement_id, o.state, -1 AS jobs, -o.events AS events
                FROM old_rows o JOIN new_rows n USING (id) WHERE o.state <> n.state
            UNION ALL
            SELECT n.task_id, n.queue_id, n.share_id, n.requirement_id, n.state, 1, n.events
                FROM old_rows o JOIN new_rows n USING (id) WHERE o.state <> n.state
        ) AS change JOIN requirement r ON r.id = change.requirement_id
        GROUP BY task_id, queue_id, share_id, state;

    INSERT INTO work_done (day, owner, group_name, share_id, queue_id, state, jobs, core_s)
        SELECT (now() AT TIME ZONE 'UTC')::date, t.owner, t.group_name, n.share_id, n.queue_id, n.state, count(*),
               sum(r.cores * extract(epoch FROM now() - n.started_at))
        FROM old_rows o JOIN new_rows n USING (id)
        JOIN task t ON t.id = n.task_id JOIN requirement r ON r.id = n.requirement_id
        WHERE o.state IN ('sent', 'starting', 'running', 'holding') AND n.started_at IS NOT NULL
          AND n.state NOT IN ('sent', 'starting', 'running', 'holding')
        GROUP BY t.owner, t.group_name, n.share_id, n.queue_id, n.state;

    INSERT INTO run_end (queue_id, task_id, job_id, failed, exit_code, error)
        SELECT n.queue_id, n.task_id, n.id, n.state = 'failed', n.exit_code,
               CASE WHEN n.state = 'failed' THEN left(coalesce(n.error, n.reason), 500) ELSE '' END
        FROM old_rows o JOIN new_rows n USING (id)
        WHERE o.state IN ('sent', 'starting', 'running', 'holding')
          AND n.state IN ('finished', 'transferring', 'failed')
        ORDER BY n.id;

    DELETE FROM unplaced u USING new_rows n, old_rows o
        WHERE u.job_id = n.id AND o.id = n.id AND o.state = 'defined' AND n.state <> 'defined';
    DELETE FROM ready r USING new_rows n, old_rows o
        WHERE r.job_id = n.id AND o.id = n.id AND o.state = 'activated' AND n.state <> 'activated';
    INSERT INTO unplaced (job_id, task_id)
        SELECT n.id, n.task_id FROM new_rows n JOIN old_rows o USING (id)
        WHERE n.state = 'defined' AND o.state <> 'defined';
    INSERT INTO ready (job_id, queue_id, share_id, requirement_id, priority)
        SELECT n.id, n.queue_id, n.share_id, n.requirement_id, n.priority
        FROM new_rows n JOIN old_rows o USING (id)
        WHERE n.state = 'activated' AND o.state <> 'activated';

    PERFORM pg_notify('prodchain_ready', queue_id::text) FROM (
        SELECT DISTINCT n.queue_id FROM new_rows n JOIN old_rows o USING (id)
        WHERE n.state = 'activated' AND o.state <> 'activated') AS queues;
    PERFORM pg_notify('prodchain_work', 'close') WHERE EXISTS (
        SELECT FROM new_rows WHERE state IN ('finished', 'failed', 'cancelled', 'closed'));
    PERFORM pg_notify('prodchain_task', task_id::text) FROM (SELECT DISTINCT task_id FROM new_rows) AS tasks;
    RETURN NULL;
END $$;
