output "by_variable" {
  description = "Names of the secrets, by environment variable of the deployment."
  value       = { for variable, secret in google_secret_manager_secret.secret : variable => secret.secret_id }
}
