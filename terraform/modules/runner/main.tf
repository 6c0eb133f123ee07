# One machine that runs the compose deployment: Dagster's processes and a container per run. Its metadata defines what it
# runs, and startup.sh reads it at every boot. Persistent data is on a separate disk.

resource "google_compute_disk" "data" {
  # checkov:skip=CKV_GCP_37: the data is public and run records are not secret; Google-managed keys encrypt the disk
  name = "${var.name}-data"
  zone = var.zone
  type = "pd-balanced"
  size = var.data_disk_gb

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_compute_resource_policy" "nightly" {
  name   = "${var.name}-nightly"
  region = var.region

  snapshot_schedule_policy {
    schedule {
      daily_schedule {
        days_in_cycle = 1
        start_time    = "08:00"
      }
    }
    retention_policy {
      max_retention_days    = 14
      on_source_disk_delete = "KEEP_AUTO_SNAPSHOTS"
    }
  }
}

resource "google_compute_disk_resource_policy_attachment" "nightly" {
  name = google_compute_resource_policy.nightly.name
  disk = google_compute_disk.data.name
  zone = var.zone
}

resource "google_compute_instance" "runner" {
  # checkov:skip=CKV_GCP_38: the data is public and run records are not secret; Google-managed keys encrypt the disks
  name                      = "${var.name}-runner"
  zone                      = var.zone
  machine_type              = var.machine_type
  allow_stopping_for_update = true
  deletion_protection       = var.deletion_protection
  can_ip_forward            = false

  boot_disk {
    initialize_params {
      image = var.machine_image
      size  = 20
      type  = "pd-balanced"
    }
  }

  attached_disk {
    source      = google_compute_disk.data.id
    device_name = "data"
  }

  network_interface {
    subnetwork = var.subnetwork
    # No access_config, so there is no public address.
  }

  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  scheduling {
    automatic_restart   = true
    on_host_maintenance = "MIGRATE"
  }

  service_account {
    email = var.service_account
    # IAM roles limit the permissions.
    scopes = ["cloud-platform"]
  }

  metadata = {
    enable-oslogin         = "TRUE"
    block-project-ssh-keys = "TRUE"
    serial-port-enable     = "FALSE"
    startup-script         = file("${path.module}/startup.sh")
    mta-image              = var.image
    mta-docker-hub         = var.docker_hub
    mta-deployment         = var.deployment
    mta-settings           = join("\n", [for name in sort(keys(var.settings)) : "${name}=${var.settings[name]}"])
    mta-secrets            = join("\n", [for name in sort(keys(var.secrets)) : "${name}=${var.secrets[name]}"])
  }
}

resource "google_compute_instance_iam_member" "operators" {
  for_each = var.operators

  instance_name = google_compute_instance.runner.name
  zone          = var.zone
  role          = "roles/compute.osAdminLogin"
  member        = each.key
}

resource "google_iap_tunnel_instance_iam_member" "operators" {
  for_each = var.operators

  project  = var.project
  zone     = var.zone
  instance = google_compute_instance.runner.name
  role     = "roles/iap.tunnelResourceAccessor"
  member   = each.key
}
