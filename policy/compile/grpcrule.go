package compile

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// grpcOperation puts the gRPC methods of in into out, as what they are on the wire: POST /service/method (gRPC over HTTP/2, "Path"). false:
// one of them cannot be read. A deny rule holds for what else some server takes for the call: servers for gRPC alone often look at the path
// and not at the HTTP method, others run calls for a GET too (Connect), and some pass over a slash at the end.
func (c *compiler) grpcOperation(in *v1alpha1.RuleOperation, out *policy.Operation, action policy.Action, at place) bool {
	if len(in.GRPC) == 0 {
		return true
	}
	if len(in.Methods)+len(in.Paths) > 0 {
		out.Methods = nil // a deny rule must not deny less than it says
		c.errorAt(at, "grpc-operation", "grpc does not go with methods and paths: the operation is not used", "write two operations")
		return false
	}
	deny, good := action == policy.Deny, true
	if !deny {
		out.Methods = []string{http.MethodPost}
	}
	add := func(where place, segments ...string) {
		for _, s := range segments {
			if s == "" || strings.ContainsAny(s, "/*%;") || s == "." || s == ".." {
				c.errorAt(where, "grpc-operation", fmt.Sprintf("%q is not the name of a gRPC service or method: it is not used", s), "write shop.v1.Orders, GetOrder")
				good = false
				return
			}
		}
		out.Paths = append(out.Paths, policy.PathPattern{Segments: segments, Prefix: deny || len(segments) == 1})
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
