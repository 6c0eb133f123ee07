variable "name" {
  description = "Prefix of resource names."
  type        = string
}

variable "region" {
  description = "The region."
  type        = string
}

variable "runner" {
  description = "The machine's service account, which the firewall rules apply to."
  type        = string
}
