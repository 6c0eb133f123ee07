set -eu
PATH="$(echo /usr/lib/postgresql/*/bin):$PATH"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  echo "$POSTGRES_PASSWORD" >/tmp/password
  initdb --username "$POSTGRES_USER" --pwfile /tmp/password --auth-host scram-sha-256 --auth-local trust >/dev/null
  rm /tmp/password
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  postgres --single -j postgres >/dev/null <<SQL
CREATE DATABASE "$POSTGRES_DB";
SQL
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp
