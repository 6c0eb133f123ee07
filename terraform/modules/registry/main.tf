# Repositories for the pipeline's images and for cached images of Docker Hub. The machine needs no other registry, and
# rate limits of Docker Hub do not affect it.

resource "google_artifact_registry_repository" "images" {
  # checkov:skip=CKV_GCP_84: the images hold public code and no data; Google's own keys encrypt them
  repository_id = "${var.name}-images"
  description   = "Images of mta_pipeline."
  location      = var.location
  format        = "DOCKER"

  docker_config {
    # A tag always refers to the same image.
    immutable_tags = true
  }

  cleanup_policies {
    id     = "keep-the-newest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }

  cleanup_policies {
    id     = "delete-what-is-old"
    action = "DELETE"
    condition {
      older_than = "7776000s"
    }
  }
}

resource "google_artifact_registry_repository" "docker_hub" {
  # checkov:skip=CKV_GCP_84: copies of public images; Google's own keys encrypt them
  repository_id = "${var.name}-docker-hub"
  description   = "Cache of the Docker Hub images in use."
  location      = var.location
  format        = "DOCKER"
  mode          = "REMOTE_REPOSITORY"

  remote_repository_config {
    description = "Docker Hub"
    docker_repository {
      public_repository = "DOCKER_HUB"
    }
  }

  cleanup_policies {
    id     = "delete-what-is-old"
    action = "DELETE"
    condition {
      older_than = "15552000s"
    }
  }
}

resource "google_artifact_registry_repository_iam_member" "runner" {
  for_each = {
    images     = google_artifact_registry_repository.images.name
    docker_hub = google_artifact_registry_repository.docker_hub.name
  }

  location   = var.location
  repository = each.value
  role       = "roles/artifactregistry.reader"
  member     = var.runner
}

resource "google_artifact_registry_repository_iam_member" "publisher" {
  location   = var.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.writer"
  member     = var.publisher
}
