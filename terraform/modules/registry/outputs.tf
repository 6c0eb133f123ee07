output "images" {
  description = "The address of the repository with the pipeline's images."
  value       = "${var.location}-docker.pkg.dev/${google_artifact_registry_repository.images.project}/${google_artifact_registry_repository.images.repository_id}"
}

output "docker_hub" {
  description = "The address of the Docker Hub cache, for example <address>/library/postgres:17."
  value       = "${var.location}-docker.pkg.dev/${google_artifact_registry_repository.docker_hub.project}/${google_artifact_registry_repository.docker_hub.repository_id}"
}
