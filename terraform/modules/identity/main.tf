# One service account per role, and no keys: the machine's is lent by its metadata, the publisher's by GitHub's tokens.

resource "google_service_account" "runner" {
  account_id   = "${var.name}-runner"
  display_name = "mta_pipeline ${var.name}: runs the pipeline"
}

resource "google_service_account" "publisher" {
  account_id   = "${var.name}-publisher"
  display_name = "mta_pipeline ${var.name}: pushes images and deployments"
}

# The runner: what it needs of the project as a whole. Rights on buckets, datasets, images and secrets are given there.
resource "google_project_iam_member" "runner" {
  for_each = toset(["roles/bigquery.jobUser", "roles/logging.logWriter", "roles/monitoring.metricWriter"])

  project = var.project
  role    = each.key
  member  = google_service_account.runner.member
}

# Logging in to a machine means to act as it.
resource "google_service_account_iam_member" "operators" {
  for_each = var.operators

  service_account_id = google_service_account.runner.name
  role               = "roles/iam.serviceAccountUser"
  member             = each.key
}

# `gcloud compute ssh` looks the machine and its project up first.
resource "google_project_iam_member" "operators" {
  for_each = var.operators

  project = var.project
  role    = "roles/compute.viewer"
  member  = each.key
}

# Queries of analysts are billed to this project.
resource "google_project_iam_member" "analysts" {
  for_each = var.analysts

  project = var.project
  role    = "roles/bigquery.jobUser"
  member  = each.key
}

resource "google_iam_workload_identity_pool" "github" {
  count = var.github_repository == null ? 0 : 1

  workload_identity_pool_id = "${var.name}-github"
  display_name              = "GitHub, ${var.name}"
}

resource "google_iam_workload_identity_pool_provider" "github" {
  # checkov:skip=CKV_GCP_125: it compares the subject with one repository's environment, but by a variable's value, which
  # the check does not read
  count = var.github_repository == null ? 0 : 1

  workload_identity_pool_id          = google_iam_workload_identity_pool.github[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "actions"

  attribute_mapping = {
    "google.subject" = "assertion.sub"
  }
  # Jobs in the repository's environment `release` alone, whose rules say who may start one.
  attribute_condition = "assertion.sub == 'repo:${var.github_repository}:environment:release'"

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account_iam_member" "github" {
  count = var.github_repository == null ? 0 : 1

  service_account_id = google_service_account.publisher.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/${google_iam_workload_identity_pool.github[0].name}/subject/repo:${var.github_repository}:environment:release"
}
