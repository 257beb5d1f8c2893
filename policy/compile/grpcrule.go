package compile

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// grpcOperation puts the gRPC methods of in into out, as what they are on the wire: POST /service/method (gRPC over HTTP/2, "Path"). false:
// one of them cannot be read.
func (c *compiler) grpcOperation(in *v1alpha1.RuleOperation, out *policy.Operation, at place) bool {
	if len(in.GRPC) == 0 {
		return true
	}
	if len(in.Methods)+len(in.Paths) > 0 {
		out.Methods = nil // a deny rule must not deny less than it says
		c.errorAt(at, "grpc-operation", "grpc does not go with methods and paths: the operation is not used", "write two operations")
		return false
	}
	out.Methods = []string{http.MethodPost}
	good := true
	add := func(where place, segments ...string) {
		for _, s := range segments {
			if s == "" || strings.ContainsAny(s, "/*%;") || s == "." || s == ".." {
				c.errorAt(where, "grpc-operation", fmt.Sprintf("%q is not the name of a gRPC service or method: it is not used", s), "write shop.v1.Orders, GetOrder")
				good = false
				return
			}
		}
		out.Paths = append(out.Paths, policy.PathPattern{Segments: segments, Prefix: len(segments) == 1})
	}
	for i := range in.GRPC {
		g, where := &in.GRPC[i], at.at("grpc[%d]", i)
		if len(g.Methods) == 0 {
			add(where.at("service"), g.Service)
		}
		for j, m := range g.Methods {
			add(where.at("methods[%d]", j), g.Service, m)
		}
	}
	return good
}
