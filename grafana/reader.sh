#!/usr/bin/env bash
# Runs once, when the database is made: the role that Grafana reads with, which can change nothing.
set -euo pipefail
psql --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --no-psqlrc --set=ON_ERROR_STOP=1 \
    --set=password="$(cat /run/secrets/grafana_db_password)" <<'SQL'
CREATE EXTENSION IF NOT EXISTS timescaledb;
CREATE ROLE grafana LOGIN PASSWORD :'password';
GRANT pg_read_all_data TO grafana;
ALTER ROLE grafana SET default_transaction_read_only = on;
ALTER ROLE grafana SET statement_timeout = '30s';
SQL
