# A separate network with one subnet. Inbound: only SSH through IAP. Outbound: only HTTP(S), through NAT.

resource "google_compute_network" "network" {
  name                    = var.name
  auto_create_subnetworks = false
}

resource "google_compute_subnetwork" "subnet" {
  name                     = var.name
  region                   = var.region
  network                  = google_compute_network.network.id
  ip_cidr_range            = "10.10.0.0/28"
  private_ip_google_access = true

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "EXCLUDE_ALL_METADATA"
  }
}

resource "google_compute_router" "router" {
  name    = var.name
  region  = var.region
  network = google_compute_network.network.id
}

resource "google_compute_router_nat" "nat" {
  name                               = var.name
  region                             = var.region
  router                             = google_compute_router.router.name
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  subnetwork {
    name                    = google_compute_subnetwork.subnet.id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}

resource "google_compute_firewall" "ssh_through_iap" {
  name                    = "${var.name}-ssh-through-iap"
  network                 = google_compute_network.network.id
  direction               = "INGRESS"
  source_ranges           = ["35.235.240.0/20"] # the range of IAP
  target_service_accounts = [var.runner]

  allow {
    protocol = "tcp"
    ports    = ["22"]
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_firewall" "web_out" {
  name                    = "${var.name}-web-out"
  network                 = google_compute_network.network.id
  direction               = "EGRESS"
  destination_ranges      = ["0.0.0.0/0"]
  target_service_accounts = [var.runner]

  # For the feed, Google's APIs and Debian packages.
  allow {
    protocol = "tcp"
    ports    = ["80", "443"]
  }
}

resource "google_compute_firewall" "nothing_else_out" {
  name               = "${var.name}-nothing-else-out"
  network            = google_compute_network.network.id
  direction          = "EGRESS"
  priority           = 65000
  destination_ranges = ["0.0.0.0/0"]

  deny {
    protocol = "all"
  }

  log_config {
    metadata = "EXCLUDE_ALL_METADATA"
  }
}
