variable "prefix" {
  description = "Prefix of dataset names."
  type        = string
}

variable "location" {
  description = "The region, the same as that of the lake's bucket."
  type        = string
}

variable "runner" {
  description = "Member that creates tables."
  type        = string
}

variable "analysts" {
  description = "Members who read the tables."
  type        = set(string)
}

variable "deletion_protection" {
  description = "Whether datasets that contain tables are protected from deletion."
  type        = bool
}
