-- An enum, a domain, and a table that uses both and the two extension types. Harmless where they exist.
DO $$
BEGIN
    IF to_regtype('document_status') IS NULL THEN
        CREATE TYPE document_status AS ENUM ('draft', 'published', 'archived');
    END IF;
    IF to_regtype('document_code') IS NULL THEN
        CREATE DOMAIN document_code AS text CHECK (VALUE ~ '^[A-Z]{2}-[0-9]+$');
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS documents (
    id bigserial PRIMARY KEY,
    title citext NOT NULL,
    attributes hstore NOT NULL,
    status document_status NOT NULL,
    code document_code NOT NULL
);

CREATE INDEX IF NOT EXISTS documents_title ON documents (title);
