-- Files that are registered by the thousand: what the keys of memberships and copies asked for each row is asked once
-- for all rows of a statement. A file stays known for ever, so its row needs no lock to be sure; a dataset's row is
-- kept, as the key kept it, until its new members are committed.
-- Rows are looked up by their ids: joined, those of 2,000 files were planned as a scan of all files.
CREATE OR REPLACE FUNCTION dataset_file_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bad record;
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
        SELECT c.file_id INTO bad FROM changed c
            WHERE NOT EXISTS (SELECT FROM file WHERE id = c.file_id OFFSET 0) LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'there is no file %', bad.file_id USING ERRCODE = 'foreign_key_violation';
        END IF;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION replica_counted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sign int := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
    here record;
BEGIN
    FOR here IN
        SELECT c.storage_id, count(*) AS files, count(f.bytes) AS known, sum(f.bytes) AS bytes,
               EXISTS (SELECT FROM storage s WHERE s.id = c.storage_id) AS is_there
        FROM changed c LEFT JOIN LATERAL (SELECT bytes FROM file WHERE id = c.file_id OFFSET 0) f ON true
        GROUP BY c.storage_id ORDER BY c.storage_id
    LOOP
        IF here.known < here.files OR NOT here.is_there THEN
            RAISE EXCEPTION 'a copy is of a file, or at a storage, that is not there'
                USING ERRCODE = 'foreign_key_violation';
        END IF;
        INSERT INTO storage_use (storage_id, files, bytes)
            VALUES (here.storage_id, sign * here.files, sign * here.bytes);
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
