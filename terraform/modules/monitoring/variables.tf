variable "project" {
  description = "The project id."
  type        = string
}

variable "name" {
  description = "Prefix of resource names."
  type        = string
}

variable "alert_emails" {
  description = "Email addresses that receive alerts."
  type        = set(string)
}

variable "billing_account" {
  description = "The billing account for the budget; null for no budget."
  type        = string
}

variable "monthly_budget_usd" {
  description = "The monthly budget in US dollars."
  type        = number
}
