output "subnetwork" {
  description = "The subnet of the machine."
  value       = google_compute_subnetwork.subnet.id
}
