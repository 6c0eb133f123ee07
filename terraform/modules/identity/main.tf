# One service account per role, without keys. The machine gets its credentials from the metadata server, and GitHub
# workflows get those of the publisher with OIDC tokens.

resource "google_service_account" "runner" {
  account_id   = "${var.name}-runner"
  display_name = "mta_pipeline ${var.name}: runs the pipeline"
}

resource "google_service_account" "publisher" {
  account_id   = "${var.name}-publisher"
  display_name = "mta_pipeline ${var.name}: pushes images and deployments"
}

# Roles of the runner on the project. The other modules grant roles on buckets, datasets, images and secrets.
resource "google_project_iam_member" "runner" {
  for_each = toset(["roles/bigquery.jobUser", "roles/logging.logWriter", "roles/monitoring.metricWriter"])

  project = var.project
  role    = each.key
  member  = google_service_account.runner.member
}

# OS Login on a machine with a service account requires permission to act as that account.
resource "google_service_account_iam_member" "operators" {
  for_each = var.operators

  service_account_id = google_service_account.runner.name
  role               = "roles/iam.serviceAccountUser"
  member             = each.key
}

# `gcloud compute ssh` reads the machine and its project.
resource "google_project_iam_member" "operators" {
  for_each = var.operators

  project = var.project
  role    = "roles/compute.viewer"
  member  = each.key
}

# Analysts run queries in this project, which pays for them.
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
  # checkov:skip=CKV_GCP_125: the condition compares the subject with the environment of one repository; the check does
  # not evaluate the variable
  count = var.github_repository == null ? 0 : 1

  workload_identity_pool_id          = google_iam_workload_identity_pool.github[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "actions"

  attribute_mapping = {
    "google.subject" = "assertion.sub"
  }
  # Only jobs in the environment `release` of the repository. Its rules define who may start them.
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
