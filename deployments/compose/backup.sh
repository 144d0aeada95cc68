#!/bin/sh
# One dump of Prefect's database, complete or not there; dumps older than KEEP_DAYS go.
# Without containers: PGPASSWORD_FILE and BACKUPS say where password and dumps are.
set -eu
PGPASSWORD=$(cat "${PGPASSWORD_FILE:-/run/secrets/postgres_password}")
export PGPASSWORD
folder=${BACKUPS:-/backups}
name=$folder/prefect-$(date -u +%Y%m%dT%H%M%SZ).dump
# A dump holds requests, labels and, encrypted, what blocks hold.
umask 077
pg_dump --format=custom --file="$name.part"
pg_restore --list "$name.part" >/dev/null
mv "$name.part" "$name"
find "$folder" -name 'prefect-*.dump' -mtime "+${KEEP_DAYS:-14}" -delete
echo "$name"
