# Alerts by email: no heartbeat, a failed run, budget exceeded. The machine has no public address, so it cannot be
# monitored from outside. It writes heartbeats to Cloud Logging itself (deploy/google/heartbeat.py).

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  display_name = "mta_pipeline ${var.name}: ${each.key}"
  type         = "email"
  labels = {
    email_address = each.key
  }
}

resource "google_logging_metric" "alive" {
  name        = "${var.name}-alive"
  description = "Heartbeats of the webserver."
  filter      = "logName=\"projects/${var.project}/logs/mta-alive\""

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }
}

resource "google_logging_metric" "failed_runs" {
  name        = "${var.name}-failed-runs"
  description = "Failed runs, as reported by Dagster."
  filter      = "logName=\"projects/${var.project}/logs/mta-failed-runs\""

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }
}

resource "google_monitoring_alert_policy" "no_sign_of_life" {
  display_name          = "mta_pipeline ${var.name}: no heartbeat"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = local.channels

  conditions {
    display_name = "The webserver has not answered for 20 minutes"
    condition_absent {
      filter   = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.alive.name}\" AND resource.type=\"global\""
      duration = "1200s"
      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_DELTA"
      }
    }
  }

  documentation {
    content = "Check the machine, then its startup script (`journalctl -u google-startup-scripts`), then `sudo docker ps --all`. See docs/deploy-google-cloud.md."
  }
}

resource "google_monitoring_alert_policy" "failed_run" {
  display_name          = "mta_pipeline ${var.name}: a run failed"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels

  conditions {
    display_name = "A run failed"
    condition_threshold {
      filter          = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.failed_runs.name}\" AND resource.type=\"global\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"
      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_DELTA"
      }
    }
  }

  alert_strategy {
    auto_close = "86400s"
  }

  documentation {
    content = "Open the UI (`terraform output open_ui`) and then Runs. The failed step gives the reason. docs/operations.md says what to do."
  }
}

resource "google_billing_budget" "month" {
  count = var.billing_account == null ? 0 : 1

  billing_account = var.billing_account
  display_name    = "mta_pipeline ${var.name}"

  budget_filter {
    projects = ["projects/${data.google_project.this.number}"]
  }

  amount {
    specified_amount {
      currency_code = "USD"
      units         = tostring(var.monthly_budget_usd)
    }
  }

  threshold_rules {
    threshold_percent = 0.5
  }

  threshold_rules {
    threshold_percent = 0.9
  }

  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }

  all_updates_rule {
    monitoring_notification_channels = local.channels
  }
}

data "google_project" "this" {
  project_id = var.project
}

locals {
  channels = [for channel in google_monitoring_notification_channel.email : channel.id]
}
