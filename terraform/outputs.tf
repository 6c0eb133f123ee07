output "lake_root" {
  description = "LAKE_ROOT of this deployment."
  value       = module.lake.root
}

output "warehouse" {
  description = "WAREHOUSE of this deployment."
  value       = "bigquery://${var.project}/${local.dataset_prefix}"
}

output "images" {
  description = "Where the pipeline's image is pushed, as <images>/mta-pipeline:<tag>."
  value       = module.registry.images
}

output "deployment" {
  description = "Where the archive of the compose files goes, which the machine unpacks when it boots."
  value       = module.lake.deployment
}

output "secrets" {
  description = "The secrets that must have a version before the machine boots, by environment variable."
  value       = module.secrets.by_variable
}

output "open_ui" {
  description = "Opens the UI at http://127.0.0.1:3000, for operators."
  value       = "gcloud compute ssh ${module.runner.instance} --project ${var.project} --zone ${var.zone} --tunnel-through-iap -- -N -L 3000:127.0.0.1:3000"
}

output "instance" {
  description = "The runner's machine."
  value       = module.runner.instance
}

output "publisher" {
  description = "The service account that pushes images and deployments."
  value       = module.identity.publisher_email
}

output "workload_identity_provider" {
  description = "What a GitHub workflow logs in with, as publisher; null without a repository."
  value       = module.identity.workload_identity_provider
}
