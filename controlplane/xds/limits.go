package xds

import "time"

// All time-outs and caps of the product's proxies in one table. What is not here is Envoy's default.
const (
	// authzTimeout bounds one Check; after it the answer is 503.
	authzTimeout = time.Second
	// deniedBodyBytes is the most that Check can put into the body of a denial.
	deniedBodyBytes = 16 << 10

	// requestHeadersTimeout is how long a client may take to send the head of a request (slow loris).
	requestHeadersTimeout = 10 * time.Second
	// connectionIdle ends a connection without streams.
	connectionIdle = time.Hour
	// streamIdle ends a stream on which nothing moves in either direction.
	streamIdle = 5 * time.Minute
	// gatewayStreamCap ends any stream from outside, WebSockets included. Inside the mesh the cap is the lifetime of an SVID: no stream
	// outlives the identity under which it was admitted.
	gatewayStreamCap = 24 * time.Hour

	// tlsHandshake and tlsInspection bound what a client may do before it has sent a byte of HTTP.
	tlsHandshake  = 10 * time.Second
	tlsInspection = 5 * time.Second

	// upstreamConnect covers TCP and TLS to a sidecar, or TCP to the application beside the proxy.
	upstreamConnect = 5 * time.Second

	// connectionBuffer is how much Envoy holds per connection and direction before it pushes back.
	connectionBuffer = 256 << 10
	// headersKB and headersCount bound the head of a request; more is 431.
	headersKB    = 60
	headersCount = 100

	// http2Streams, http2StreamWindow and http2ConnectionWindow bound what one HTTP/2 client can make Envoy hold.
	http2Streams          = 100
	http2StreamWindow     = 256 << 10
	http2ConnectionWindow = 1 << 20
	// meshStreams is the same for our own proxies, which share one connection per worker.
	meshStreams          = 1024
	meshConnectionWindow = 16 << 20

	// upstreamCap replaces the circuit breakers' default of 1024: overload is for the application to refuse, a proxy that answers 503 by
	// itself below that would be a limit nobody has configured.
	upstreamCap = 1 << 20

	// sdsFetch is how long a new listener or cluster waits for its secrets. Waiting for ever would let one certificate file that cannot
	// be read keep a whole gateway from starting, and block every later change of that listener, removals included. After it only the
	// handshakes that need the missing secret fail, and a late secret heals them at once.
	sdsFetch = 15 * time.Second
	// sdsRetryBase and sdsRetryMax: the first stream opens before its cluster is ready; Envoy's default back-off takes up to 2.7 s.
	sdsRetryBase = 20 * time.Millisecond
	sdsRetryMax  = 500 * time.Millisecond
)

// lifetimes of mTLS connections: trust must end connections, not only handshakes, so none lives longer than half an SVID. The client
// side ends its connections first: a client that stops using a connection loses no request.
type lifetimes struct {
	upstream, downstream, drain, stream time.Duration
}

func lifetimesOf(svid time.Duration) lifetimes {
	drain := min(5*time.Second, svid/20)
	return lifetimes{upstream: svid * 2 / 5, downstream: svid/2 - drain, drain: drain, stream: svid}
}
