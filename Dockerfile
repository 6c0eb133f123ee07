# One image for all services of a deployment: code server, webserver, daemon, caretaker and run containers.
ARG BASE_IMAGE=python:3.11-slim

# Extract only the dependencies from pyproject.toml, so that other changes to it do not rebuild the dependency layer.
FROM ${BASE_IMAGE} AS wanted
COPY pyproject.toml /
RUN python -c "import json, tomllib; p = tomllib.load(open('/pyproject.toml', 'rb'))['project']; \
    wanted = p['dependencies'] + [w for e in ('docker', 'gcp', 'notify', 'telemetry') for w in p['optional-dependencies'][e]]; \
    print('[project]\nname = \'wanted\'\nversion = \'0\'\ndependencies =', json.dumps(wanted))" >/wanted.toml

FROM ${BASE_IMAGE} AS build
ARG UV_VERSION=0.13.9
# Use the system's certificates. Those of uv do not include the one of a company's proxy.
ARG UV_SYSTEM_CERTS=1
ENV UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 UV_PYTHON=/opt/venv/bin/python
RUN python -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --quiet --disable-pip-version-check uv==${UV_VERSION} \
    && python -m venv --without-pip /opt/venv
WORKDIR /build
COPY --from=wanted /wanted.toml ./wanted/pyproject.toml
COPY requirements.lock ./
# Remove tests of packages (90 MB) and the API descriptions in googleapiclient (100 MB). The clients of Cloud Storage and
# BigQuery do not use them.
RUN /opt/uv/bin/uv pip install --quiet --require-hashes --constraint requirements.lock --requirements wanted/pyproject.toml \
    && rm -rf /opt/venv/lib/python3*/site-packages/googleapiclient/discovery_cache/documents \
    && find /opt/venv -type d -name tests -prune -exec rm -rf {} +
COPY README.md pyproject.toml ./
COPY mta_pipeline mta_pipeline
# Separate from the dependencies, so that new code is a small layer.
RUN /opt/uv/bin/uv pip install --quiet --no-deps --target /opt/mta_pipeline .

FROM ${BASE_IMAGE}
# A new named volume takes over the owner of the directory it is mounted on.
RUN useradd --uid 1000 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin mta \
    && install -d -o mta -g mta /lake /feed /var/log/dagster
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/mta_pipeline /opt/mta_pipeline
COPY deploy/docker/dagster.yaml deploy/docker/workspace.yaml /opt/dagster/
ENV PATH=/opt/venv/bin:/opt/mta_pipeline/bin:$PATH \
    PYTHONPATH=/opt/mta_pipeline \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DAGSTER_HOME=/opt/dagster
USER mta
WORKDIR /opt/dagster
EXPOSE 4000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 4000), 5).close()"]
CMD ["dagster", "api", "grpc", "--host", "0.0.0.0", "--port", "4000", "--module-name", "mta_pipeline.definitions"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mta-pipeline" \
      org.opencontainers.image.description="New York subway turnstile data from weekly files to a validated lake and warehouse." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
