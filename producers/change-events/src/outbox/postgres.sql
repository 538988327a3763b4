-- The outbox of a service, in its own Postgres database: one per database, in the schema lakehead.
-- Run by whoever may create schemas; run again, it changes nothing. docs/outbox.md describes it.

-- Two that create at once would otherwise fail each other.
SELECT pg_advisory_xact_lock(26728::bigint << 48 | 281474976710655);

CREATE SCHEMA IF NOT EXISTS lakehead;

-- CACHE 1: sequences are drawn in the order of time, whichever connection draws them.
CREATE SEQUENCE IF NOT EXISTS lakehead.outbox_sequence AS bigint CACHE 1;

-- Debezium's outbox columns, and ours. A change has its entity in aggregatetype, its key in
-- aggregateid (a JSON object, or the one key field as bare text), its operation (c, u, d, r) in
-- type and the row after it in payload; any other type is the name of an event.
CREATE TABLE IF NOT EXISTS lakehead.outbox (
    sequence      bigint PRIMARY KEY,
    id            uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    aggregatetype text NOT NULL,
    aggregateid   text NOT NULL,
    type          text NOT NULL,
    payload       json,
    before        json,
    event_time_us bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
);

-- Which transaction wrote a row: its number, the sequence of its first row (which tells it from one
-- of another server with the same number), the row's place in it, and how many rows of each
-- aggregatetype it has written so far. Null in rows of before. Looked for first, as even an ALTER
-- that changes nothing waits for all that is open, and all others behind it.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'lakehead.outbox'::regclass AND attname = 'transaction_id') THEN
        ALTER TABLE lakehead.outbox ADD COLUMN transaction_id bigint, ADD COLUMN transaction_first bigint,
            ADD COLUMN transaction_order bigint, ADD COLUMN transaction_counts json;
        CREATE INDEX outbox_transaction ON lakehead.outbox (transaction_first, transaction_order) WHERE transaction_first IS NOT NULL;
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS lakehead.outbox_source (
    id     integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    source text NOT NULL
);

-- What the relay keeps: how far everything is acknowledged, on which cluster, with how many
-- partitions, and what follows the last record acknowledged of each partition.
CREATE TABLE IF NOT EXISTS lakehead.outbox_relay (
    id            integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    confirmed     bigint NOT NULL DEFAULT 0,
    released      bigint NOT NULL DEFAULT 0,
    cluster       text,
    server        text,
    retry_last    bigint NOT NULL DEFAULT 0
);
INSERT INTO lakehead.outbox_relay DEFAULT VALUES ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS lakehead.outbox_topic (
    topic      text PRIMARY KEY,
    partitions integer NOT NULL
);
CREATE TABLE IF NOT EXISTS lakehead.outbox_partition (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- What the events of each entity add up to, for watermarks.
CREATE TABLE IF NOT EXISTS lakehead.outbox_counting (
    id      integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    through bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS lakehead.outbox_counted (
    entity              text PRIMARY KEY,
    after_sequence      bigint NOT NULL,
    events              bigint NOT NULL,
    ids                 text NOT NULL,
    images              text NOT NULL,
    complete_through_us bigint NOT NULL
);

-- Of a relay that reads by replication: its slot, none while the outbox is polled; how many slots
-- there were; the last sequence that was drawn when the slot was there, none while it is being
-- created; the sequence up to which rows were polled, none while they still are. Places count the
-- rows behind that in the order of their commits: up to which place everything is acknowledged, and
-- the place that belongs to an LSN at which a transaction ended. All sequences up to `floor` are
-- decided, and published; `is_clean` says that nothing else may be in Kafka than what is kept here.
CREATE TABLE IF NOT EXISTS lakehead.outbox_log (
    id          integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    slot        text,
    epoch       bigint NOT NULL DEFAULT 0,
    horizon     bigint,
    handed_over bigint,
    confirmed   bigint NOT NULL DEFAULT 0,
    lsn         pg_lsn NOT NULL DEFAULT '0/0',
    lsn_place   bigint NOT NULL DEFAULT 0,
    floor       bigint NOT NULL DEFAULT 0,
    is_clean    boolean NOT NULL DEFAULT true
);
INSERT INTO lakehead.outbox_log DEFAULT VALUES ON CONFLICT DO NOTHING;

-- Runs of sequences above the floor that are published, since their transactions ended before others.
CREATE TABLE IF NOT EXISTS lakehead.outbox_ahead (
    first bigint PRIMARY KEY,
    last  bigint NOT NULL
);

-- What a slot gives of the outbox. Without a slot it does nothing.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'lakehead_outbox') THEN
        CREATE PUBLICATION lakehead_outbox FOR TABLE lakehead.outbox WITH (publish = 'insert');
    END IF;
END $$;

-- Rows that cannot be published, and behind each the later rows of its key.
CREATE TABLE IF NOT EXISTS lakehead.outbox_parked (
    sequence       bigint PRIMARY KEY,
    entity         text NOT NULL,
    key_id         bytea NOT NULL,
    key            text NOT NULL,
    why            text NOT NULL,
    parked_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    retry          boolean NOT NULL DEFAULT false,
    retry_sequence bigint
);

-- The last sequence drawn, by any transaction, ended or not.
CREATE OR REPLACE FUNCTION lakehead.outbox_drawn() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM lakehead.outbox_sequence
$$;

-- A transaction says where it began before it draws its first sequence: all it draws is above.
-- The settings and the lock have the same life: until the transaction ends, or is rolled back to a
-- savepoint before them; so what a savepoint took back is not counted.
CREATE OR REPLACE FUNCTION lakehead.outbox_insert() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    writer text := pg_current_xact_id();
    last bigint;
    counts jsonb;
BEGIN
    IF current_setting('lakehead.outbox_writer', true) IS DISTINCT FROM writer THEN
        SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END INTO last FROM lakehead.outbox_sequence;
        PERFORM pg_advisory_xact_lock_shared(26728::bigint << 48 | last);
        NEW.sequence := nextval('lakehead.outbox_sequence');
        PERFORM set_config('lakehead.outbox_writer', writer, true), set_config('lakehead.outbox_first', NEW.sequence::text, true),
            set_config('lakehead.outbox_order', '0', true), set_config('lakehead.outbox_counts', '{}', true);
    ELSE
        NEW.sequence := nextval('lakehead.outbox_sequence');
    END IF;
    -- Empty in a transaction that was open while this function was made.
    NEW.transaction_first := nullif(current_setting('lakehead.outbox_first', true), '');
    IF NEW.transaction_first IS NOT NULL THEN
        NEW.transaction_id := writer;
        NEW.transaction_order := current_setting('lakehead.outbox_order')::bigint + 1;
        PERFORM set_config('lakehead.outbox_order', NEW.transaction_order::text, true);
        counts := current_setting('lakehead.outbox_counts');
        -- Of more entities than anybody has, nothing is counted: each row would hold them all.
        IF pg_column_size(counts) < 8192 THEN
            counts := counts || jsonb_build_object(NEW.aggregatetype, coalesce((counts->>NEW.aggregatetype)::bigint, 0) + 1);
            NEW.transaction_counts := counts;
            PERFORM set_config('lakehead.outbox_counts', counts::text, true);
        END IF;
    END IF;
    RETURN NEW;
END $$;

-- How far an outbox may be read. The order is the point: a sequence up to `last` was drawn before
-- the locks are looked at, so its writer either still holds a lock below it, or has ended and is
-- decided for every statement that starts after this one. A sequence that was rolled back is a gap
-- and nobody waits for it.
CREATE OR REPLACE FUNCTION lakehead.outbox_safe() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    last bigint;
    lowest bigint;
BEGIN
    last := lakehead.outbox_drawn();
    SELECT min((classid::bigint & 65535) << 32 | objid::bigint) INTO lowest FROM pg_locks
        WHERE locktype = 'advisory' AND mode = 'ShareLock' AND objsubid = 1 AND classid::bigint >> 16 = 26728
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
    RETURN least(last, lowest);
END $$;

-- The outbox is the service's word: a row is not changed while it may be published, and only the
-- relay removes one. A parked row may be put right.
CREATE OR REPLACE FUNCTION lakehead.outbox_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RETURN CASE WHEN current_setting('lakehead.outbox_prune', true) = 'on' THEN OLD END;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.sequence = OLD.sequence AND EXISTS (SELECT FROM lakehead.outbox_parked WHERE sequence = OLD.sequence) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'rows of lakehead.outbox are not changed: they may be published already; append another event';
END $$;

-- Writes one event, inside the transaction that changed the entity's table; answers its sequence.
CREATE OR REPLACE FUNCTION lakehead.emit(
    entity text, op text, key json, after json DEFAULT NULL, before json DEFAULT NULL,
    event_time timestamptz DEFAULT clock_timestamp(), event_id uuid DEFAULT gen_random_uuid()
) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    drawn bigint;
BEGIN
    IF op NOT IN ('c', 'u', 'd', 'r') OR op IS NULL THEN
        RAISE EXCEPTION 'op is %, not one of c, u, d, r', quote_nullable(op);
    END IF;
    IF json_typeof(key) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'key is %, not a JSON object of the key fields', quote_nullable(key::text);
    END IF;
    IF (op = 'd') <> (after IS NULL) THEN
        RAISE EXCEPTION 'op % needs %', op, CASE op WHEN 'd' THEN 'no row after it' ELSE 'the row after it' END;
    END IF;
    INSERT INTO lakehead.outbox (id, aggregatetype, aggregateid, type, payload, before, event_time_us)
        VALUES (event_id, entity, key::text, op, after, before, (extract(epoch FROM event_time) * 1000000)::bigint)
        RETURNING sequence INTO drawn;
    RETURN drawn;
END $$;

-- Gives the database its identity, the ce_source of its events, if it has none; answers it.
CREATE OR REPLACE FUNCTION lakehead.create_source(service text) RETURNS text LANGUAGE sql VOLATILE AS $$
    INSERT INTO lakehead.outbox_source (source) VALUES ('/' || service || '/' || gen_random_uuid()) ON CONFLICT DO NOTHING;
    SELECT source FROM lakehead.outbox_source;
$$;

-- A view with the columns of Debezium's outbox in the place where a service expects them. What is
-- inserted goes to the outbox; what is deleted counts as deleted and is published nevertheless.
CREATE OR REPLACE FUNCTION lakehead.outbox_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN OLD;
END $$;
CREATE OR REPLACE FUNCTION lakehead.create_debezium_view(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE VIEW %s AS SELECT id, aggregatetype, aggregateid, type, payload FROM lakehead.outbox', name);
    EXECUTE format('CREATE TRIGGER outbox_keep INSTEAD OF DELETE ON %s FOR EACH ROW EXECUTE FUNCTION lakehead.outbox_keep()', name);
END $$;

CREATE OR REPLACE TRIGGER outbox_insert BEFORE INSERT ON lakehead.outbox
    FOR EACH ROW EXECUTE FUNCTION lakehead.outbox_insert();
CREATE OR REPLACE TRIGGER outbox_guard BEFORE UPDATE OR DELETE ON lakehead.outbox
    FOR EACH ROW EXECUTE FUNCTION lakehead.outbox_guard();
CREATE OR REPLACE TRIGGER outbox_truncate BEFORE TRUNCATE ON lakehead.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION lakehead.outbox_guard();
