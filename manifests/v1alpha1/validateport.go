package v1alpha1

// ownMTLS checks who serves mTLS at a port, and what an application that does so itself can't have: no proxy reads its requests.
func (c *checker) ownMTLS(at string, p *WorkloadPort) {
	c.oneOf(at+".mtls", p.MTLS, MTLSSidecar, MTLSApplication)
	if p.MTLS != MTLSApplication {
		return
	}
	if p.Protocol == ProtocolHTTP {
		c.fail(at+".protocol", "unsupported-value", "callers speak HTTP/2 to an application that serves mTLS itself", "HTTP2 or GRPC")
	}
	if p.Paths != nil {
		c.fail(at+".paths", "unsupported-value", "no proxy reads the paths of an application that serves mTLS itself", "remove it")
	}
}
