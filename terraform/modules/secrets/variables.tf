variable "name" {
  description = "What names begin with."
  type        = string
}

variable "location" {
  description = "The region."
  type        = string
}

variable "runner" {
  description = "Who reads them."
  type        = string
}
