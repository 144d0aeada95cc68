#!/bin/sh
# One dump of Prefect's database, complete or not there; dumps older than KEEP_DAYS go.
set -eu
PGPASSWORD=$(cat /run/secrets/postgres_password)
export PGPASSWORD
name=/backups/prefect-$(date -u +%Y%m%dT%H%M%SZ).dump
pg_dump --format=custom --file="$name.part"
pg_restore --list "$name.part" >/dev/null
mv "$name.part" "$name"
find /backups -name 'prefect-*.dump' -mtime "+${KEEP_DAYS:-14}" -delete
echo "$name"
