output "instance" {
  description = "The name of the machine."
  value       = google_compute_instance.runner.name
}
