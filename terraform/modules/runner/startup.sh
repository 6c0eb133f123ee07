#!/bin/bash
# Runs as root at every boot and configures the machine from its metadata. It is idempotent.
# Metadata: mta-image, mta-docker-hub, mta-deployment, and NAME=value lines in mta-settings and mta-secrets.
set -euo pipefail
export HOME=/root # gcloud and docker store registry credentials there

metadata() {
  curl -fsS -H 'Metadata-Flavor: Google' "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"
}

# --- data disk, with Docker's images and volumes ---
disk=/dev/disk/by-id/google-data
mount_point=/var/lib/docker
blkid "$disk" >/dev/null || mkfs.ext4 -q -L mta-data "$disk"
mkdir -p "$mount_point"
grep -q "$mount_point" /etc/fstab || echo "LABEL=mta-data $mount_point ext4 defaults,nofail,discard 0 2" >>/etc/fstab
mountpoint -q "$mount_point" || mount "$mount_point"
resize2fs "$disk" >/dev/null 2>&1 || true

# --- Docker, from Debian packages ---
mkdir -p /etc/docker
cat >/etc/docker/daemon.json <<'JSON'
{"live-restore": true}
JSON
if ! docker compose version >/dev/null 2>&1; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends docker.io docker-cli docker-compose unattended-upgrades
fi
systemctl enable --quiet --now docker

image=$(metadata mta-image)
gcloud auth configure-docker --quiet "${image%%/*}" >/dev/null 2>&1

# --- compose files, settings, and secrets (in memory only) ---
home=/opt/mta
mkdir -p "$home"
gcloud storage cp --quiet "$(metadata mta-deployment)" /run/deployment.tar.gz
find "$home" -mindepth 1 -delete
tar -xzf /run/deployment.tar.gz -C "$home" --no-same-owner
rm /run/deployment.tar.gz

install -d -m 700 /run/mta
environment=/run/mta/env
(
  umask 077
  {
    metadata mta-settings
    echo
    echo "MTA_IMAGE=$image"
    echo "DOCKER_HUB=$(metadata mta-docker-hub)"
    echo "DOCKER_GROUP=$(stat -c %g /var/run/docker.sock)"
    while IFS='=' read -r name secret; do
      echo "$name=$(gcloud secrets versions access latest --secret "$secret")"
    done < <(metadata mta-secrets; echo)
  } >"$environment"
)

cd "$home"
compose=(docker compose --env-file "$environment" -f compose.yaml -f deploy/docker/socket-proxy.yaml -f deploy/google/compose.yaml)
"${compose[@]}" pull --quiet
"${compose[@]}" up --detach --remove-orphans
docker image prune --all --force --filter until=720h >/dev/null

# --- heartbeat, every five minutes; an alert fires if it is missing ---
cat >/etc/systemd/system/mta-alive.service <<UNIT
[Service]
Type=oneshot
ExecStart=/usr/bin/python3 $home/deploy/google/heartbeat.py
UNIT
cat >/etc/systemd/system/mta-alive.timer <<'UNIT'
[Timer]
OnBootSec=2min
OnUnitActiveSec=5min
[Install]
WantedBy=timers.target
UNIT
systemctl daemon-reload
systemctl enable --quiet --now mta-alive.timer
