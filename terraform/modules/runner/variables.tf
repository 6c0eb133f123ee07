variable "project" {
  description = "The project."
  type        = string
}

variable "name" {
  description = "What names begin with."
  type        = string
}

variable "region" {
  description = "The region."
  type        = string
}

variable "zone" {
  description = "The zone."
  type        = string
}

variable "machine_type" {
  description = "The kind of machine."
  type        = string
}

variable "machine_image" {
  description = "Its image: a Debian that has Docker and Compose among its own packages."
  type        = string
  default     = "debian-cloud/debian-13"
}

variable "data_disk_gb" {
  description = "The size of the data disk."
  type        = number
}

variable "deletion_protection" {
  description = "Whether the machine refuses to be destroyed."
  type        = bool
}

variable "subnetwork" {
  description = "The subnet it is in."
  type        = string
}

variable "service_account" {
  description = "Whom it acts as."
  type        = string
}

variable "operators" {
  description = "Who may log in."
  type        = set(string)
}

variable "image" {
  description = "The pipeline's image."
  type        = string
}

variable "docker_hub" {
  description = "Where Docker Hub's images are had."
  type        = string
}

variable "deployment" {
  description = "The archive with the compose files, at gs://."
  type        = string
}

variable "settings" {
  description = "The deployment's settings, by environment variable."
  type        = map(string)
}

variable "secrets" {
  description = "The deployment's secrets, by environment variable: their names in Secret Manager."
  type        = map(string)
}
