-- What follows a change of state, for a thousand jobs in one statement as for one: old and new rows are joined once,
-- and what only some changes need is asked for when there are such.

CREATE TYPE job_change AS (
    id bigint, task_id bigint, before text, state text, old_queue_id smallint, queue_id smallint,
    old_share_id smallint, share_id smallint, old_requirement_id int, requirement_id int, old_events bigint,
    events bigint, priority int, started_at timestamptz, exit_code int, error text, actor text, reason text
);

CREATE OR REPLACE FUNCTION job_updated() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changes job_change[];
    bad record;
    has record;
BEGIN
    -- A full join, and a condition that keeps it one: it is hashed, also where the plan was made for a single row.
    SELECT array_agg(ROW(n.id, n.task_id, o.state, n.state, o.queue_id, n.queue_id, o.share_id, n.share_id,
                         o.requirement_id, n.requirement_id, o.events, n.events, n.priority, n.started_at,
                         n.exit_code, n.error, n.actor, n.reason)::job_change ORDER BY n.id)
        INTO changes FROM old_rows o FULL JOIN new_rows n ON n.id = o.id WHERE o.state IS DISTINCT FROM n.state;
    IF changes IS NULL THEN
        RETURN NULL;
    END IF;

    SELECT min(c.id) AS id, c.before, c.state INTO bad FROM unnest(changes) c GROUP BY c.before, c.state
        HAVING NOT EXISTS (SELECT FROM job_way w WHERE w.before = c.before AND w.state = c.state) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'job % cannot go from % to %', bad.id, bad.before, bad.state
            USING ERRCODE = 'check_violation';
    END IF;

    SELECT bool_or(before = 'defined') AS were_defined, bool_or(state = 'defined') AS are_defined,
           bool_or(before = 'activated') AS were_activated, bool_or(state = 'activated') AS are_activated,
           bool_or(before IN ('sent', 'starting', 'running', 'holding')
                   AND state NOT IN ('sent', 'starting', 'running', 'holding')) AS left_slots,
           bool_or(state IN ('finished', 'failed', 'cancelled', 'closed')) AS ended
        INTO has FROM unnest(changes);

    IF has.are_activated THEN
        SELECT c.id, i.file_id INTO bad
            FROM unnest(changes) c
            LEFT JOIN queue q ON q.id = c.queue_id
            LEFT JOIN job_input i ON i.job_id = c.id
            LEFT JOIN replica r ON r.file_id = i.file_id AND r.storage_id = q.storage_id
            WHERE c.state = 'activated'
              AND (q.id IS NULL OR (i.file_id IS NOT NULL AND r.file_id IS NULL)) LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'job % cannot be activated: file % has no verified replica at its queue''s storage',
                bad.id, bad.file_id USING ERRCODE = 'check_violation';
        END IF;
    END IF;

    INSERT INTO event (task_id, job_id, before, state, actor, reason)
        SELECT task_id, id, before, state, actor, reason FROM unnest(changes);

    INSERT INTO job_count (task_id, queue_id, share_id, state, jobs, events, cores)
        SELECT task_id, queue_id, share_id, state, sum(jobs), sum(change.events), sum(jobs * r.cores) FROM (
            SELECT task_id, old_queue_id AS queue_id, old_share_id AS share_id, old_requirement_id AS requirement_id,
                   before AS state, -1 AS jobs, -old_events AS events FROM unnest(changes)
            UNION ALL
            SELECT task_id, queue_id, share_id, requirement_id, state, 1, events FROM unnest(changes)
        ) AS change JOIN requirement r ON r.id = change.requirement_id
        GROUP BY task_id, queue_id, share_id, state;

    IF has.left_slots THEN
        INSERT INTO work_done (day, owner, group_name, share_id, queue_id, state, jobs, core_s)
            SELECT (now() AT TIME ZONE 'UTC')::date, t.owner, t.group_name, c.share_id, c.queue_id, c.state, count(*),
                   sum(r.cores * extract(epoch FROM now() - c.started_at))
            FROM unnest(changes) c JOIN task t ON t.id = c.task_id JOIN requirement r ON r.id = c.requirement_id
            WHERE c.before IN ('sent', 'starting', 'running', 'holding') AND c.started_at IS NOT NULL
              AND c.state NOT IN ('sent', 'starting', 'running', 'holding')
            GROUP BY t.owner, t.group_name, c.share_id, c.queue_id, c.state;
        INSERT INTO run_end (queue_id, task_id, job_id, failed, exit_code, error)
            SELECT queue_id, task_id, id, state = 'failed', exit_code,
                   CASE WHEN state = 'failed' THEN left(coalesce(error, reason), 500) ELSE '' END
            FROM unnest(changes)
            WHERE before IN ('sent', 'starting', 'running', 'holding')
              AND state IN ('finished', 'transferring', 'failed');
    END IF;

    IF has.were_defined THEN
        DELETE FROM unplaced u USING unnest(changes) c WHERE u.job_id = c.id AND c.before = 'defined';
    END IF;
    IF has.were_activated THEN
        DELETE FROM ready r USING unnest(changes) c WHERE r.job_id = c.id AND c.before = 'activated';
    END IF;
    IF has.are_defined THEN
        INSERT INTO unplaced (job_id, task_id) SELECT id, task_id FROM unnest(changes) WHERE state = 'defined';
    END IF;
    IF has.are_activated THEN
        INSERT INTO ready (job_id, queue_id, share_id, requirement_id, priority)
            SELECT id, queue_id, share_id, requirement_id, priority FROM unnest(changes) WHERE state = 'activated';
        PERFORM pg_notify('prodchain_ready', concat_ws(' ', queue_id, share_id, requirement_id)) FROM (
            SELECT DISTINCT queue_id, share_id, requirement_id FROM unnest(changes) WHERE state = 'activated') AS lanes;
    END IF;
    IF has.ended THEN
        PERFORM pg_notify('prodchain_work', 'close');
    END IF;
    PERFORM pg_notify('prodchain_task', task_id::text) FROM (SELECT DISTINCT task_id FROM unnest(changes)) AS tasks;
    RETURN NULL;
END $$;
