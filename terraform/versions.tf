terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }

  # Which bucket is said at `terraform init`, see environments/*.gcs.tfbackend.
  backend "gcs" {}
}

provider "google" {
  project = var.project
  region  = var.region

  default_labels = {
    application = "mta-pipeline"
    environment = var.environment
  }

  # Budgets are billed to a project of the caller, not to the client's own.
  billing_project       = var.project
  user_project_override = true
}
