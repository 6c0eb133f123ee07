output "by_variable" {
  description = "The secrets by the environment variables that the deployment has them in."
  value       = { for variable, secret in google_secret_manager_secret.secret : variable => secret.secret_id }
}
