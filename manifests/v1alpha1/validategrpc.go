package v1alpha1

import (
	"fmt"
	"regexp"
	"slices"
)

// grpcService and grpcMethod are the names that a protocol buffer file can give (Protocol Buffers language specification: fullIdent, ident).
// Each is exactly one path segment without a character that could be written in two ways.
var (
	grpcService = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)
	grpcMethod  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// grpcOperations checks o.GRPC, which says in full what methods and paths are: they do not go together.
func (c *checker) grpcOperations(at string, o *RuleOperation) {
	if len(o.GRPC) == 0 {
		return
	}
	if len(o.Methods)+len(o.Paths) > 0 {
		c.fail(at, "one-of", "grpc does not go with methods and paths", "a gRPC method is POST /service/method; write two operations where both are meant")
	}
	for i := range o.GRPC {
		g, p := &o.GRPC[i], index(at+".grpc", i)
		if c.required(p+".service", g.Service) && (len(g.Service) > 1024 || !grpcService.MatchString(g.Service)) {
			c.fail(p+".service", "invalid-name", fmt.Sprintf("%q is not the full name of a gRPC service", g.Service), "package and service: shop.v1.Orders")
		}
		for j, m := range g.Methods {
			switch {
			case m == "" || len(m) > 1024 || !grpcMethod.MatchString(m):
				c.fail(index(p+".methods", j), "invalid-name", fmt.Sprintf("%q is not the name of a gRPC method", m), "leave methods out for all of the service")
			case slices.Contains(g.Methods[:j], m):
				c.fail(index(p+".methods", j), "duplicate-value", m+" is given twice", "")
			}
		}
	}
}
