# Two buckets: the lake, and the deployment archive that the machine unpacks at boot. The pipeline can write to the lake
# only, so a compromised pipeline cannot change what the machine runs as root.

resource "google_storage_bucket" "lake" {
  # checkov:skip=CKV_GCP_62: Cloud Audit Logs (below) record accesses without a second bucket
  name                        = "${var.project}-${var.name}-lake"
  location                    = var.location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = 30 * 24 * 60 * 60
  }

  # No rule deletes anything. Raw files are read only when a week is rebuilt.
  lifecycle_rule {
    action {
      type          = "SetStorageClass"
      storage_class = "NEARLINE"
    }
    condition {
      age                   = 90
      matches_prefix        = ["raw/"]
      matches_storage_class = ["STANDARD"]
      with_state            = "LIVE"
    }
  }

  lifecycle_rule {
    action {
      type          = "SetStorageClass"
      storage_class = "COLDLINE"
    }
    condition {
      age                   = 365
      matches_prefix        = ["raw/"]
      matches_storage_class = ["NEARLINE"]
      with_state            = "LIVE"
    }
  }

  # Replaced versions are kept, at a twentieth of the price.
  lifecycle_rule {
    action {
      type          = "SetStorageClass"
      storage_class = "ARCHIVE"
    }
    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
    }
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_storage_bucket" "deployment" {
  # checkov:skip=CKV_GCP_62: Cloud Audit Logs (below) record accesses without a second bucket
  name                        = "${var.project}-${var.name}-deployment"
  location                    = var.location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  versioning {
    enabled = true
  }
}

resource "google_project_iam_audit_config" "storage" {
  project = var.project
  service = "storage.googleapis.com"

  audit_log_config {
    log_type = "DATA_WRITE"
  }
}

# Replacing an object requires permission to delete it. Versioning keeps the replaced object.
resource "google_storage_bucket_iam_member" "runner_lake" {
  bucket = google_storage_bucket.lake.name
  role   = "roles/storage.objectUser"
  member = var.runner
}

resource "google_storage_bucket_iam_member" "runner_deployment" {
  bucket = google_storage_bucket.deployment.name
  role   = "roles/storage.objectViewer"
  member = var.runner
}

resource "google_storage_bucket_iam_member" "publisher_deployment" {
  bucket = google_storage_bucket.deployment.name
  role   = "roles/storage.objectUser"
  member = var.publisher
}

resource "google_storage_bucket_iam_member" "analysts" {
  for_each = var.analysts

  bucket = google_storage_bucket.lake.name
  role   = "roles/storage.objectViewer"
  member = each.key
}

resource "google_storage_bucket_iam_member" "runner_feed" {
  count = var.feed_bucket == null ? 0 : 1

  bucket = var.feed_bucket
  role   = "roles/storage.objectViewer"
  member = var.runner
}
