variable "project" {
  description = "The project."
  type        = string
}

variable "name" {
  description = "What names begin with."
  type        = string
}

variable "operators" {
  description = "Who may log in to the machine."
  type        = set(string)
}

variable "analysts" {
  description = "Who may query."
  type        = set(string)
}

variable "github_repository" {
  description = "owner/name whose environment release may publish; null for none."
  type        = string
}
