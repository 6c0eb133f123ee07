variable "project" {
  description = "The project id. It is the prefix of bucket names, which must be globally unique."
  type        = string
}

variable "name" {
  description = "Second part of bucket names."
  type        = string
}

variable "location" {
  description = "The region."
  type        = string
}

variable "runner" {
  description = "Member that writes the lake."
  type        = string
}

variable "publisher" {
  description = "Member that uploads deployment archives."
  type        = string
}

variable "analysts" {
  description = "Members who read the lake."
  type        = set(string)
}

variable "feed_bucket" {
  description = "The bucket of the feed; null if the feed is not in a bucket."
  type        = string
}
