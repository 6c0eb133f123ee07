output "channels" {
  description = "The notification channels, for further alerts."
  value       = local.channels
}
