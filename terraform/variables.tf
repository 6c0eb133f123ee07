variable "project" {
  description = "The Google Cloud project that holds everything. It exists, and billing is on."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project's id is 6 to 30 lower-case letters, digits and hyphens, and starts with a letter."
  }
}

variable "environment" {
  description = "What this deployment is called: part of every name, so that several fit into one project."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,11}$", var.environment))
    error_message = "An environment is 2 to 12 lower-case letters and digits, and starts with a letter."
  }
}

variable "region" {
  description = "Where bucket, datasets, images and machine are: one region, because BigQuery loads from a bucket beside it."
  type        = string
  default     = "us-central1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region is like us-central1."
  }
}

variable "zone" {
  description = "The zone of the machine and its disk, in the region."
  type        = string
  default     = "us-central1-a"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+-[a-z]$", var.zone)) && startswith(var.zone, var.region)
    error_message = "A zone is like us-central1-a, and in the region."
  }
}

variable "image_tag" {
  description = "The tag or digest of the pipeline's image in the registry: v1.2.3 or sha256:..."
  type        = string

  validation {
    condition     = can(regex("^(sha256:[0-9a-f]{64}|[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})$", var.image_tag)) && var.image_tag != "latest"
    error_message = "Name a tag or a digest, and not latest: a restart must not change what runs."
  }
}

variable "feed" {
  description = "MTA_FEED: where the weekly files are, an https URL or gs://bucket/prefix."
  type        = string

  validation {
    condition     = can(regex("^(https?|gs)://[^@]+$", var.feed))
    error_message = "A feed is an http(s) or gs:// URL without user or password."
  }
}

variable "feed_bucket" {
  description = "The bucket of a feed at gs://, which the pipeline may then read; null for any other feed."
  type        = string
  default     = null
}

variable "settings" {
  description = "Further settings of the pipeline, by environment variable; no secrets."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name, value in var.settings : can(regex("^[A-Z][A-Z0-9_]*$", name)) && !strcontains(value, "\n")])
    error_message = "A setting is NAME = value, in one line."
  }
}

variable "warehouse_storage" {
  description = "BIGQUERY_STORAGE: native loads the lake into BigQuery, external reads it in the bucket each time."
  type        = string
  default     = "native"

  validation {
    condition     = contains(["native", "external"], var.warehouse_storage)
    error_message = "It is native or external."
  }
}

variable "max_gib_per_query" {
  description = "BIGQUERY_MAX_GIB: what one of the pipeline's queries may scan at most."
  type        = number
  default     = 200

  validation {
    condition     = var.max_gib_per_query >= 1
    error_message = "At least 1."
  }
}

variable "machine_type" {
  description = "The runner's machine. A run over all weeks needs 2 GB; Dagster's own processes another 2."
  type        = string
  default     = "e2-standard-2"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*-[a-z0-9-]+$", var.machine_type))
    error_message = "A machine type is like e2-standard-2."
  }
}

variable "data_disk_gb" {
  description = "The disk for images, PostgreSQL and run logs."
  type        = number
  default     = 30

  validation {
    condition     = var.data_disk_gb >= 20 && var.data_disk_gb <= 1000
    error_message = "20 to 1000 GB."
  }
}

variable "deletion_protection" {
  description = "Whether the machine and the datasets refuse to be destroyed."
  type        = bool
  default     = true
}

variable "operators" {
  description = "Who may log in to the machine and open the UI through it: user:... or group:..."
  type        = set(string)

  validation {
    condition     = alltrue([for member in var.operators : can(regex("^(user|group):[^@ ]+@[^@ ]+$", member))])
    error_message = "Members are user:somebody@example.org or group:some@example.org."
  }
}

variable "analysts" {
  description = "Who may read the lake and the warehouse, and query: user:..., group:... or serviceAccount:..."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.analysts : can(regex("^(user|group|serviceAccount):[^@ ]+@[^@ ]+$", member))])
    error_message = "Members are user:..., group:... or serviceAccount:...; never allUsers."
  }
}

variable "github_repository" {
  description = "owner/name of the repository whose environment release may push images and deployments, without a key; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9_.-]+$", var.github_repository))
    error_message = "A repository is owner/name."
  }
}

variable "alert_emails" {
  description = "Where alerts go."
  type        = set(string)

  validation {
    condition     = length(var.alert_emails) > 0 && alltrue([for email in var.alert_emails : can(regex("^[^@ ]+@[^@ ]+$", email))])
    error_message = "At least one address."
  }
}

variable "billing_account" {
  description = "The billing account of the project, for the budget's alert; null for no budget."
  type        = string
  default     = null

  validation {
    condition     = var.billing_account == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "A billing account is like 012345-6789AB-CDEF01."
  }
}

variable "monthly_budget_usd" {
  description = "What a month may cost before the budget's alert says so. Nothing is switched off."
  type        = number
  default     = 100

  validation {
    condition     = var.monthly_budget_usd >= 1
    error_message = "At least 1."
  }
}
