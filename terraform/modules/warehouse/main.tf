# One dataset per layer. The pipeline creates the tables, with types and descriptions from the contract.

locals {
  layers = {
    staged    = "All readings, and all rejected lines with their reason."
    lake      = "Traffic per turnstile, ridership per station complex, and the reference tables."
    warehouse = "The star schema: views of the lake, and the date dimension."
    marts     = "Tables that each answer one question, computed from all weeks."
  }
}

resource "google_bigquery_dataset" "layer" {
  # checkov:skip=CKV_GCP_81: the data is public; Google-managed keys encrypt it
  for_each = local.layers

  dataset_id                 = "${var.prefix}${each.key}"
  description                = each.value
  location                   = var.location
  max_time_travel_hours      = 168
  storage_billing_model      = "LOGICAL"
  delete_contents_on_destroy = !var.deletion_protection
}

resource "google_bigquery_dataset_iam_member" "runner" {
  for_each = google_bigquery_dataset.layer

  dataset_id = each.value.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = var.runner
}

resource "google_bigquery_dataset_iam_member" "analysts" {
  for_each = {
    for pair in setproduct(keys(local.layers), var.analysts) : "${pair[0]} ${pair[1]}" => { layer = pair[0], member = pair[1] }
  }

  dataset_id = google_bigquery_dataset.layer[each.value.layer].dataset_id
  role       = "roles/bigquery.dataViewer"
  member     = each.value.member
}
