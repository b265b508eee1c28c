-- What a farm's pilot tells of many jobs at once leaves few rows, too; there is one way to tell, for all statements.
DROP FUNCTION tell(bigint, bigint[], text, text, text, text);

-- Jobs that changed alike are one row, from four on: there it takes less than a row for each. Their numbers are near each
-- other, as the index of such a row knows only the first and the last of them, and few rows are looked at for a job.
-- What failed has rows of its own, for the indexes of failures. Who is placed where all is there was assigned first.
CREATE FUNCTION tell(changes job_change[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH alike AS (
        SELECT task_id, before, state, actor, reason, direct, CASE WHEN direct THEN assignment_id END AS decision,
               range_agg(int8range(id, id, '[]')) AS jobs, count(*) >= 4 AND state <> 'failed' AS many
        FROM (SELECT *, before = 'defined' AND state = 'activated' AS direct FROM unnest(changes)) AS c
        GROUP BY task_id, before, state, actor, reason, direct, decision, id / 10000
    ), step AS MATERIALIZED (
        SELECT task_id, jobs, many, before, 'assigned' AS state, actor,
               coalesce((SELECT a.reason FROM assignment a WHERE a.id = decision), reason) AS reason
        FROM alike WHERE direct
        UNION ALL
        SELECT task_id, jobs, many, CASE WHEN direct THEN 'assigned' ELSE before END, state, actor, reason FROM alike
    ), told AS (
        INSERT INTO mass_event (task_id, jobs, before, state, actor, reason)
        SELECT task_id, jobs, before, state, actor, reason FROM step WHERE many
    )
    INSERT INTO event (task_id, job_id, before, state, actor, reason)
        SELECT task_id, job, before, state, actor, reason
        FROM step s, unnest(s.jobs) AS run, generate_series(lower(run), upper(run) - 1) AS job WHERE NOT many;
END $$;

CREATE OR REPLACE FUNCTION job_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bad record;
BEGIN
    IF EXISTS (SELECT FROM new_rows WHERE state <> 'defined' OR queue_id IS NOT NULL OR assignment_id IS NOT NULL) THEN
        RAISE EXCEPTION 'a new job is defined, nothing else' USING ERRCODE = 'check_violation';
    END IF;
    SELECT n.task_id INTO bad FROM (SELECT DISTINCT task_id FROM new_rows) n
        WHERE NOT EXISTS (SELECT FROM task WHERE id = n.task_id) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'there is no task %', bad.task_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    PERFORM tell(array_agg(ROW(id, task_id, NULL, state, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                               NULL, NULL, actor, reason, NULL)::job_change)) FROM new_rows;
    INSERT INTO job_move (task_id, share_id, state, jobs, events, cores)
        SELECT n.task_id, n.share_id, n.state, count(*), sum(n.events), sum(r.cores)
        FROM new_rows n JOIN requirement r ON r.id = n.requirement_id
        GROUP BY n.task_id, n.share_id, n.state;
    INSERT INTO unplaced (job_id, task_id) SELECT id, task_id FROM new_rows ORDER BY id;
    PERFORM pg_notify('prodchain_work', 'place');
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION job_updated() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changes job_change[];
    bad record;
    pilots bigint;
    has record;
BEGIN
    -- A full join, and a condition that keeps it one: it is hashed, also where the plan was made for a single row.
    SELECT array_agg(ROW(n.id, n.task_id, o.state, n.state, o.queue_id, n.queue_id, o.share_id, n.share_id,
                         o.requirement_id, n.requirement_id, o.events, n.events, n.priority, n.started_at,
                         n.exit_code, n.error, n.actor, n.reason, n.assignment_id)::job_change ORDER BY n.id),
           count(DISTINCT n.actor) FILTER (WHERE n.actor LIKE 'pilot:%')
        INTO changes, pilots FROM old_rows o FULL JOIN new_rows n ON n.id = o.id WHERE o.state IS DISTINCT FROM n.state;
    IF changes IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(ROW(k.*)::job_changes) AS kinds,
           min(example) FILTER (WHERE NOT EXISTS (
               SELECT FROM job_way w WHERE w.before = k.before AND w.state = k.state)) AS astray,
           bool_or(before = 'defined') AS were_defined, bool_or(state = 'defined') AS are_defined,
           bool_or(before = 'activated') AS were_activated, bool_or(state = 'activated') AS are_activated,
           bool_or(before = 'defined' AND state IN ('assigned', 'activated')) AS placed,
           bool_or(before IN ('sent', 'starting', 'running', 'holding')
                   AND state NOT IN ('sent', 'starting', 'running', 'holding')) AS left_slots,
           bool_or(state IN ('finished', 'failed', 'cancelled', 'closed')) AS ended
        INTO has FROM (
            SELECT before, state, task_id, old_queue_id, queue_id, old_share_id, share_id, old_requirement_id,
                   requirement_id, assignment_id, count(*), sum(old_events), sum(events), min(id) AS example,
                   sum(extract(epoch FROM now() - started_at))
                       FILTER (WHERE before IN ('sent', 'starting', 'running', 'holding')
                               AND state NOT IN ('sent', 'starting', 'running', 'holding')) AS ran_s
            FROM unnest(changes)
            GROUP BY before, state, task_id, old_queue_id, queue_id, old_share_id, share_id, old_requirement_id,
                     requirement_id, assignment_id) AS k;

    IF has.astray IS NOT NULL THEN
        SELECT c.before, c.state INTO bad FROM unnest(changes) c WHERE c.id = has.astray;
        RAISE EXCEPTION 'job % cannot go from % to %', has.astray, bad.before, bad.state
            USING ERRCODE = 'check_violation';
    END IF;

    IF has.placed OR has.are_activated THEN
        SELECT k.example AS id, k.queue_id INTO bad FROM unnest(has.kinds) k
            WHERE k.state IN ('assigned', 'activated')
              AND (NOT EXISTS (SELECT FROM queue WHERE id = k.queue_id)
                   OR k.assignment_id IS NOT NULL
                  AND NOT EXISTS (SELECT FROM assignment WHERE id = k.assignment_id AND queue_id IS NOT NULL)) LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'job % cannot be at queue %: there is no such queue, or no such decision', bad.id,
                bad.queue_id USING ERRCODE = 'foreign_key_violation';
        END IF;
    END IF;
    IF has.are_activated THEN
        SELECT c.id, i.file_id INTO bad
            FROM unnest(changes) c JOIN job_input i ON i.job_id = c.id JOIN queue q ON q.id = c.queue_id
            WHERE c.state = 'activated' AND NOT EXISTS (
                SELECT FROM replica r WHERE r.file_id = i.file_id AND r.storage_id = q.storage_id) LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'job % cannot be activated: file % has no verified replica at its queue''s storage',
                bad.id, bad.file_id USING ERRCODE = 'check_violation';
        END IF;
    END IF;

    -- Pilots that tell of fewer jobs each than share a row have nothing to say together.
    IF cardinality(changes) < 4 * pilots THEN
        INSERT INTO event (task_id, job_id, before, state, actor, reason)
            SELECT task_id, id, before, state, actor, reason FROM unnest(changes);
    ELSE
        PERFORM tell(changes);
    END IF;

    INSERT INTO job_move (task_id, before, old_queue_id, old_share_id, old_cores, old_events, state, queue_id, share_id,
                          cores, events, jobs, day, core_s)
        SELECT k.task_id, k.before, k.old_queue_id, k.old_share_id, k.jobs * o.cores, k.old_events, k.state, k.queue_id,
               k.share_id, k.jobs * r.cores, k.events, k.jobs,
               CASE WHEN k.ran_s IS NOT NULL THEN (now() AT TIME ZONE 'UTC')::date END, r.cores * k.ran_s
        FROM unnest(has.kinds) k JOIN requirement o ON o.id = k.old_requirement_id
        JOIN requirement r ON r.id = k.requirement_id;

    IF has.left_slots THEN
        INSERT INTO run_end (queue_id, task_id, job_id, failed, exit_code, error)
            SELECT queue_id, task_id, id, state = 'failed', exit_code,
                   CASE WHEN state = 'failed' THEN left(coalesce(error, reason), 500) ELSE '' END
            FROM unnest(changes)
            WHERE before IN ('sent', 'starting', 'running', 'holding')
              AND state IN ('finished', 'transferring', 'failed');
    END IF;

    IF has.were_defined THEN
        DELETE FROM unplaced WHERE job_id = ANY (ARRAY(SELECT id FROM unnest(changes) WHERE before = 'defined'));
    END IF;
    IF has.were_activated THEN
        DELETE FROM ready WHERE job_id = ANY (ARRAY(SELECT id FROM unnest(changes) WHERE before = 'activated'));
    END IF;
    IF has.are_defined THEN
        INSERT INTO unplaced (job_id, task_id) SELECT id, task_id FROM unnest(changes) WHERE state = 'defined';
    END IF;
    IF has.are_activated THEN
        INSERT INTO ready (job_id, queue_id, share_id, requirement_id, priority)
            SELECT id, queue_id, share_id, requirement_id, priority FROM unnest(changes) WHERE state = 'activated';
        PERFORM pg_notify('prodchain_ready', concat_ws(' ', queue_id, share_id, requirement_id)) FROM (
            SELECT DISTINCT queue_id, share_id, requirement_id FROM unnest(has.kinds) WHERE state = 'activated') AS lanes;
    END IF;
    IF has.ended THEN
        PERFORM pg_notify('prodchain_work', 'close');
    END IF;
    RETURN NULL;
END $$;
