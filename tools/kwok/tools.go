//go:build tools

// Package tools pins the module that the simulated nodes are built from.
package tools

import _ "sigs.k8s.io/kwok/cmd/kwok"
