output "instance" {
  description = "The machine's name."
  value       = google_compute_instance.runner.name
}
