output "root" {
  description = "Value of LAKE_ROOT."
  value       = "gs://${google_storage_bucket.lake.name}"
}

output "deployment" {
  description = "Location of the deployment archive."
  value       = "gs://${google_storage_bucket.deployment.name}/deployment.tar.gz"
}
