-- Names are found by any part of them: a GIN index on runs of three characters, packed into int4 (the embedded
-- PostgreSQL has no pg_trgm). What is searched day by day, the latest versions that people made and nobody
-- deleted, has indexes of its own; what the system makes for itself is most of the rows and stays out of them.

CREATE FUNCTION name_grams(scope text, name text) RETURNS int4[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
DECLARE
    bytes bytea := convert_to(scope || ':' || name, 'UTF8');
    gram int4 := 0;
    grams int4[] := '{}';
BEGIN
    FOR place IN 0 .. length(bytes) - 1 LOOP
        gram := ((gram << 8) | get_byte(bytes, place)) & 16777215;
        IF place >= 2 THEN
            grams[place - 1] := gram;
        END IF;
    END LOOP;
    RETURN grams;
END $$;

-- A long list of changes that are not in the index yet would be read by every search.
CREATE INDEX dataset_grams ON dataset USING gin (name_grams(scope, name)) WITH (gin_pending_list_limit = 512)
    WHERE latest AND deleted_at IS NULL AND kind NOT IN ('dispatch', 'sub');

-- Planned for the GIN index alone: any other way evaluates name_grams for each row that it reads. The memory
-- keeps the bitmap exact, or whole pages would be evaluated again.
CREATE FUNCTION dataset_with_grams(grams int4[], most bigint)
    RETURNS TABLE (id bigint, name text, scope text, version int) LANGUAGE sql STABLE
    SET enable_seqscan = off SET enable_indexscan = off SET enable_indexonlyscan = off SET work_mem = '64MB'
AS $$
    SELECT id, name, scope, version FROM dataset
    WHERE latest AND deleted_at IS NULL AND kind NOT IN ('dispatch', 'sub') AND name_grams(scope, name) @> grams
    LIMIT most
$$;

-- Counters change in place while a page has room; and pages that the map calls visible are read from the index.
ALTER TABLE dataset SET (
    fillfactor = 90, autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.02
);
