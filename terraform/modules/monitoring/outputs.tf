output "channels" {
  description = "The notification channels, for additional alerts."
  value       = local.channels
}
