output "runner_email" {
  description = "The machine's service account."
  value       = google_service_account.runner.email
}

output "runner_member" {
  description = "The machine's service account, as a member in IAM policies."
  value       = google_service_account.runner.member
}

output "publisher_email" {
  description = "The service account that publishes images and deployment archives."
  value       = google_service_account.publisher.email
}

output "publisher_member" {
  description = "The publisher's service account, as a member in IAM policies."
  value       = google_service_account.publisher.member
}

output "workload_identity_provider" {
  description = "The workload identity provider for GitHub workflows; null without a repository."
  value       = one(google_iam_workload_identity_pool_provider.github[*].name)
}
