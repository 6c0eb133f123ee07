output "subnetwork" {
  description = "The subnet that the machine is in."
  value       = google_compute_subnetwork.subnet.id
}
