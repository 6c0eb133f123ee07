output "root" {
  description = "LAKE_ROOT."
  value       = "gs://${google_storage_bucket.lake.name}"
}

output "deployment" {
  description = "The archive with the compose files."
  value       = "gs://${google_storage_bucket.deployment.name}/deployment.tar.gz"
}
