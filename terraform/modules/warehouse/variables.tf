variable "prefix" {
  description = "What the datasets' names begin with."
  type        = string
}

variable "location" {
  description = "The region, that of the lake's bucket."
  type        = string
}

variable "runner" {
  description = "Who makes tables."
  type        = string
}

variable "analysts" {
  description = "Who reads them."
  type        = set(string)
}

variable "deletion_protection" {
  description = "Whether datasets with tables in them refuse to be destroyed."
  type        = bool
}
