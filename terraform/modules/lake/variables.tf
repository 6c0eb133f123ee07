variable "project" {
  description = "The project, which names of buckets begin with: they are the world's."
  type        = string
}

variable "name" {
  description = "What comes after it."
  type        = string
}

variable "location" {
  description = "The region."
  type        = string
}

variable "runner" {
  description = "Who writes the lake."
  type        = string
}

variable "publisher" {
  description = "Who writes deployments."
  type        = string
}

variable "analysts" {
  description = "Who reads the lake."
  type        = set(string)
}

variable "feed_bucket" {
  description = "A bucket the feed is in, or null."
  type        = string
}
