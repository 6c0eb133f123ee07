# Substitute for the official PostgreSQL image where it cannot be pulled. It uses Debian's packages and supports only the
# three variables of the official entry point that compose.yaml sets.
FROM python:3.11-slim
# The package mirror, for a base image without one.
ARG MIRROR
RUN . /etc/os-release \
    && if [ -n "$MIRROR" ]; then echo "deb $MIRROR $VERSION_CODENAME main" >/etc/apt/sources.list; fi \
    && apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends postgresql >/dev/null \
    && install -d -o postgres -g postgres -m 700 /var/lib/postgresql/data
COPY postgres.sh /usr/local/bin/
USER postgres
ENV PGDATA=/var/lib/postgresql/data
STOPSIGNAL SIGINT
CMD ["sh", "/usr/local/bin/postgres.sh"]
