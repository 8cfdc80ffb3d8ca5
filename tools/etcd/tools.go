//go:build tools

// Package etcd pins the etcd server that `mlinfra up` builds where neither a
// cache nor the official release download has it.
package etcd

import _ "go.etcd.io/etcd/server/v3"
