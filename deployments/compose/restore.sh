#!/bin/sh
# Puts a dump in the place of what is there, in one transaction: it is restored whole or not at all.
# Stop prefect-api, prefect-services, orchestrator and api first.
# Without containers: PGPASSWORD_FILE and BACKUPS say where password and dumps are.
set -eu
folder=${BACKUPS:-/backups}
test $# -eq 1 || { echo "usage: restore FILE (one of: $(cd "$folder" && ls))" >&2; exit 2; }
PGPASSWORD=$(cat "${PGPASSWORD_FILE:-/run/secrets/postgres_password}")
export PGPASSWORD
pg_restore --clean --if-exists --single-transaction --exit-on-error --no-owner --dbname="$PGDATABASE" "$folder/$1"
