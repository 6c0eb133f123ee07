variable "name" {
  description = "Prefix of resource names."
  type        = string
}

variable "location" {
  description = "The region."
  type        = string
}

variable "runner" {
  description = "Member that reads the secrets."
  type        = string
}
