// Package shoppb is generated from shop.proto, the gRPC side of the quickstart's service orders, by `make generate`.
package shoppb
