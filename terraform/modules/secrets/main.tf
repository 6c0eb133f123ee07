# Empty secrets. Their values are added manually, so that no state, plan or log contains one.

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

  # A version destroyed by mistake can be restored for a week.
  version_destroy_ttl = "604800s"
}

resource "google_secret_manager_secret_iam_member" "runner" {
  for_each = google_secret_manager_secret.secret

  secret_id = each.value.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = var.runner
}
