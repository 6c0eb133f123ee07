terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }

  # `terraform init` gets the bucket from environments/*.gcs.tfbackend.
  backend "gcs" {}
}

provider "google" {
  project = var.project
  region  = var.region

  default_labels = {
    application = "mta-pipeline"
    environment = var.environment
  }

  # API calls for budgets must use a quota project of the caller.
  billing_project       = var.project
  user_project_override = true
}
