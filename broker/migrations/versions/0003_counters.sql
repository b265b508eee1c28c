-- Copies that arrive by the thousand: what holds for all of them is asked once. The key to storage locked the one row
-- that all arrivals share, for each copy anew; as storages stay for ever, the rows need no lock to be sure.
-- Sizes are looked up by the files' ids: joined, those of 2,000 copies were planned as a scan of all files.
CREATE OR REPLACE FUNCTION replica_counted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sign int := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
BEGIN
    IF TG_OP = 'INSERT' AND EXISTS (
        SELECT FROM (SELECT DISTINCT storage_id FROM changed) c
        WHERE NOT EXISTS (SELECT FROM storage s WHERE s.id = c.storage_id)
    ) THEN
        RAISE EXCEPTION 'a copy is at a storage that is not there' USING ERRCODE = 'foreign_key_violation';
    END IF;
    INSERT INTO storage_use (storage_id, files, bytes)
        SELECT c.storage_id, sign * count(*), sign * sum(f.bytes)
        FROM changed c CROSS JOIN LATERAL (SELECT bytes FROM file WHERE id = c.file_id OFFSET 0) f
        GROUP BY c.storage_id;
    RETURN NULL;
END $$;

CREATE FUNCTION storage_guarded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'storages stay for ever, and copies where they are: no % of %', lower(TG_OP), TG_TABLE_NAME
        USING ERRCODE = 'foreign_key_violation';
END $$;

CREATE TRIGGER storage_guarded BEFORE DELETE OR TRUNCATE OR UPDATE OF id ON storage
    FOR EACH STATEMENT EXECUTE FUNCTION storage_guarded();

CREATE TRIGGER replica_guarded BEFORE UPDATE OF file_id, storage_id ON replica
    FOR EACH STATEMENT EXECUTE FUNCTION storage_guarded();

ALTER TABLE replica DROP CONSTRAINT replica_storage_id_fkey;
