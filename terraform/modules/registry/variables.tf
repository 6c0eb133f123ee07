variable "name" {
  description = "Prefix of resource names."
  type        = string
}

variable "location" {
  description = "The region."
  type        = string
}

variable "runner" {
  description = "Member that pulls images."
  type        = string
}

variable "publisher" {
  description = "Member that pushes images."
  type        = string
}
