variable "project" {
  description = "The project id."
  type        = string
}

variable "name" {
  description = "Prefix of resource names."
  type        = string
}

variable "operators" {
  description = "Members who may log in to the machine."
  type        = set(string)
}

variable "analysts" {
  description = "Members who may run queries."
  type        = set(string)
}

variable "github_repository" {
  description = "The repository (owner/name) whose environment `release` may publish; null for none."
  type        = string
}
