DROP TABLE IF EXISTS documents;
DROP DOMAIN IF EXISTS document_code;
DROP TYPE IF EXISTS document_status;
