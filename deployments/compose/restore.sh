#!/bin/sh
# Puts a dump in the place of what is there, in one transaction: it is restored whole or not at all.
# Stop prefect-api, prefect-services, orchestrator and api first.
set -eu
test $# -eq 1 || { echo "usage: restore FILE (one of: $(cd /backups && ls))" >&2; exit 2; }
PGPASSWORD=$(cat /run/secrets/postgres_password)
export PGPASSWORD
pg_restore --clean --if-exists --single-transaction --exit-on-error --no-owner --dbname="$PGDATABASE" "/backups/$1"
