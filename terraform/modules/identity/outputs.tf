output "runner_email" {
  description = "The machine's service account."
  value       = google_service_account.runner.email
}

output "runner_member" {
  description = "The machine's service account, as policies name it."
  value       = google_service_account.runner.member
}

output "publisher_email" {
  description = "The service account that pushes images and deployments."
  value       = google_service_account.publisher.email
}

output "publisher_member" {
  description = "The same, as policies name it."
  value       = google_service_account.publisher.member
}

output "workload_identity_provider" {
  description = "The provider that a GitHub workflow names; null without a repository."
  value       = one(google_iam_workload_identity_pool_provider.github[*].name)
}
