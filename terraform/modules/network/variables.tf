variable "name" {
  description = "What names begin with."
  type        = string
}

variable "region" {
  description = "The region."
  type        = string
}

variable "runner" {
  description = "The machine's service account, which rules are for."
  type        = string
}
