variable "project" {
  description = "The project."
  type        = string
}

variable "name" {
  description = "What names begin with."
  type        = string
}

variable "alert_emails" {
  description = "Who is told."
  type        = set(string)
}

variable "billing_account" {
  description = "For the budget; null for none."
  type        = string
}

variable "monthly_budget_usd" {
  description = "The budget."
  type        = number
}
