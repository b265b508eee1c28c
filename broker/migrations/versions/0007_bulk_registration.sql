-- Files that are registered by the thousand: what the keys of memberships and copies asked for each row is asked once
-- for all rows of a statement. A file stays known for ever, so its row needs no lock to be sure; a dataset's row is
-- kept, as the key kept it, until its new members are committed.
-- Rows are looked up by lists of ids: joined, those of 2,000 files were planned as a scan of all files.
CREATE OR REPLACE FUNCTION dataset_file_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bad record;
    file_ids bigint[];
BEGIN
    SELECT c.dataset_id, d.id, d.state INTO bad
        FROM (SELECT DISTINCT dataset_id FROM changed ORDER BY dataset_id) c
        LEFT JOIN LATERAL (SELECT id, state, kind FROM dataset WHERE id = c.dataset_id FOR KEY SHARE) d ON true
        WHERE d.id IS NULL OR d.state = 'closed' OR d.kind = 'container' OR (TG_OP = 'INSERT' AND d.state <> 'open')
        LIMIT 1;
    IF FOUND AND bad.id IS NULL THEN
        RAISE EXCEPTION 'there is no dataset %', bad.dataset_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF FOUND THEN
        RAISE EXCEPTION 'the content of a closed dataset does not change, and a container has no files'
            USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        file_ids := ARRAY(SELECT DISTINCT file_id FROM changed);
        IF (SELECT count(*) FROM file WHERE id = ANY (file_ids)) < cardinality(file_ids) THEN
            RAISE EXCEPTION 'a file that joins a dataset is not there' USING ERRCODE = 'foreign_key_violation';
        END IF;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION replica_counted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sign int := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
    here record;
    known record;
BEGIN
    FOR here IN
        SELECT storage_id, array_agg(file_id) AS file_ids FROM changed GROUP BY storage_id ORDER BY storage_id
    LOOP
        SELECT count(*) AS files, sum(bytes) AS bytes INTO known FROM file WHERE id = ANY (here.file_ids);
        IF known.files < cardinality(here.file_ids) OR NOT EXISTS (SELECT FROM storage WHERE id = here.storage_id) THEN
            RAISE EXCEPTION 'a copy is of a file, or at a storage, that is not there'
                USING ERRCODE = 'foreign_key_violation';
        END IF;
        INSERT INTO storage_use (storage_id, files, bytes)
            VALUES (here.storage_id, sign * known.files, sign * known.bytes);
    END LOOP;
    RETURN NULL;
END $$;

CREATE FUNCTION file_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'files and datasets keep their numbers, and files stay known for ever: no % of %',
        lower(TG_OP), TG_TABLE_NAME USING ERRCODE = 'foreign_key_violation';
END $$;

CREATE TRIGGER file_kept BEFORE DELETE OR TRUNCATE OR UPDATE OF id ON file
    FOR EACH STATEMENT EXECUTE FUNCTION file_kept();

CREATE TRIGGER dataset_kept BEFORE TRUNCATE OR UPDATE OF id ON dataset
    FOR EACH STATEMENT EXECUTE FUNCTION file_kept();

CREATE FUNCTION dataset_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM gone WHERE EXISTS (SELECT FROM dataset_file WHERE dataset_id = gone.id OFFSET 0)) THEN
        RAISE EXCEPTION 'a dataset that has files is not removed' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER dataset_removed AFTER DELETE ON dataset
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION dataset_removed();

ALTER TABLE dataset_file DROP CONSTRAINT dataset_file_dataset_id_fkey, DROP CONSTRAINT dataset_file_file_id_fkey;

ALTER TABLE replica DROP CONSTRAINT replica_file_id_fkey;
