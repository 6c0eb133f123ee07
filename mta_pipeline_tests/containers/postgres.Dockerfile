# What stands in for the official PostgreSQL image where none can be pulled: Debian's packages, and of the official entry
# point no more than the three variables that compose.yaml sets.
FROM python:3.11-slim
# Where packages come from, for a base that does not know.
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
