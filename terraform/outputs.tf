output "lake_root" {
  description = "Value of LAKE_ROOT in this deployment."
  value       = module.lake.root
}

output "warehouse" {
  description = "Value of WAREHOUSE in this deployment."
  value       = "bigquery://${var.project}/${local.dataset_prefix}"
}

output "images" {
  description = "Address for the pipeline's image. Push it as <images>/mta-pipeline:<tag>."
  value       = module.registry.images
}

output "deployment" {
  description = "Location for the deployment archive, which the machine unpacks at boot."
  value       = module.lake.deployment
}

output "secrets" {
  description = "Secrets that need a version before the machine boots, by environment variable."
  value       = module.secrets.by_variable
}

output "open_ui" {
  description = "Command for operators that opens the UI at http://127.0.0.1:3000."
  value       = "gcloud compute ssh ${module.runner.instance} --project ${var.project} --zone ${var.zone} --tunnel-through-iap -- -N -L 3000:127.0.0.1:3000"
}

output "instance" {
  description = "The name of the machine."
  value       = module.runner.instance
}

output "publisher" {
  description = "The service account that publishes images and deployment archives."
  value       = module.identity.publisher_email
}

output "workload_identity_provider" {
  description = "The workload identity provider with which GitHub workflows log in as publisher; null without a repository."
  value       = module.identity.workload_identity_provider
}
