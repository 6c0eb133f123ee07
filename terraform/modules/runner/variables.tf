variable "project" {
  description = "The project id."
  type        = string
}

variable "name" {
  description = "Prefix of resource names."
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
  description = "The machine type."
  type        = string
}

variable "machine_image" {
  description = "The image of the machine: a Debian version with packages for Docker and Compose."
  type        = string
  default     = "debian-cloud/debian-13"
}

variable "data_disk_gb" {
  description = "Size of the data disk in GB."
  type        = number
}

variable "deletion_protection" {
  description = "Whether the machine is protected from deletion."
  type        = bool
}

variable "subnetwork" {
  description = "The subnet of the machine."
  type        = string
}

variable "service_account" {
  description = "The email address of the machine's service account."
  type        = string
}

variable "operators" {
  description = "Members who may log in."
  type        = set(string)
}

variable "image" {
  description = "The pipeline's image."
  type        = string
}

variable "docker_hub" {
  description = "Address of the Docker Hub cache."
  type        = string
}

variable "deployment" {
  description = "URL of the deployment archive (gs://...)."
  type        = string
}

variable "settings" {
  description = "The deployment's settings, by environment variable."
  type        = map(string)
}

variable "secrets" {
  description = "Names of the deployment's secrets in Secret Manager, by environment variable."
  type        = map(string)
}
