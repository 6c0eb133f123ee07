# Places for secrets, without the secrets: those are put in by hand, so that no state, plan or log ever holds one.

locals {
  variables = toset(["POSTGRES_PASSWORD"])
}

resource "google_secret_manager_secret" "secret" {
  for_each = local.variables

  secret_id = "${var.name}-${lower(replace(each.key, "_", "-"))}"

  replication {
    user_managed {
      replicas {
        location = var.location
      }
    }
  }

  # What is destroyed by mistake can be had back for a week.
  version_destroy_ttl = "604800s"
}

resource "google_secret_manager_secret_iam_member" "runner" {
  for_each = google_secret_manager_secret.secret

  secret_id = each.value.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = var.runner
}
