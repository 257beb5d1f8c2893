package admin

import "time"

// Status is the answer of GET /v1/status, and what `credence status` prints. Slices are sorted by name.
type Status struct {
	Version string `json:"version"`
	// Time of the picture.
	Time        time.Time `json:"time,omitzero"`
	TrustDomain string    `json:"trustDomain"`
	Development bool      `json:"development"`
	Generation  uint64    `json:"generation"`
	Hash        string    `json:"hash"`
	Ready       bool      `json:"ready"`
	NotReady    []string  `json:"notReady"`
	// Degraded is what harms a part and does not keep the product from being ready.
	Degraded    []string     `json:"degraded,omitempty"`
	Gateways    []Listening  `json:"gateways"`
	Workloads   []Listening  `json:"workloads"`
	Issuers     []Issuer     `json:"issuers"`
	Proxies     []Proxy      `json:"proxies"`
	Diagnostics []Diagnostic `json:"diagnostics"`
	// Pinned objects are in force in their last good version; Denied have none.
	Pinned []string `json:"pinned"`
	Denied []string `json:"denied"`
}

// Listening is a gateway or a workload: who it is and where it is reached.
type Listening struct {
	Name     string `json:"name"`
	SPIFFEID string `json:"spiffeID"`
	// Expires is when the SVID in use ends; zero: none is issued.
	Expires time.Time `json:"expires,omitzero"`
	// Addresses: of a gateway its listeners, of a workload its mTLS listeners, each "name=ip:port".
	Addresses []string `json:"addresses"`
	// Outbound is where a workload's application calls others; Applications are where it listens itself, by port name.
	Outbound     string   `json:"outbound,omitempty"`
	Applications []string `json:"applications,omitempty"`
	Boundary     string   `json:"boundary,omitempty"`
	// OwnMTLS are the ports, by name, at which the application serves mTLS itself: no policy is in force there.
	OwnMTLS     []string `json:"ownMTLS,omitempty"`
	AdminSocket string   `json:"adminSocket"`
	Denied      string   `json:"denied,omitempty"`
}

// Issuer of user tokens.
type Issuer struct {
	Name   string `json:"name"`
	Issuer string `json:"issuer"`
	// More is how many iss it has besides, on the same keys.
	More int `json:"more,omitempty"`
	Keys int `json:"keys"`
	// Updated is when the keys were last read well, Next when the issuer is asked again, Until how long they are trusted unless it
	// answers; zero: never.
	Updated time.Time `json:"updated,omitzero"`
	Next    time.Time `json:"next,omitzero"`
	Until   time.Time `json:"until,omitzero"`
	// Introspection is where the issuer is asked about tokens, which are opaque then; Updated is when it answered last.
	Introspection string `json:"introspection,omitempty"`
	// Restored: the keys are those that an earlier process had, and the issuer has not answered since.
	Restored bool `json:"restored,omitempty"`
	// Skipped keys of the issuer's document, with the reason.
	Skipped []string `json:"skipped,omitempty"`
	Error   string   `json:"error,omitempty"`
}

// Proxy is one Envoy.
type Proxy struct {
	ID        string `json:"id"`
	PID       int    `json:"pid"`
	Connected bool   `json:"connected"`
	Version   string `json:"version,omitempty"`
	// Generation that the proxy has acknowledged as a whole.
	Generation uint64 `json:"generation"`
	Restarts   int    `json:"restarts"`
	// Rejected is what the proxy refused last and has not accepted since.
	Rejected string `json:"rejected,omitempty"`
	Error    string `json:"error,omitempty"`
}

// Diagnostic of the manifests in force.
type Diagnostic struct {
	Severity string `json:"severity"`
	Code     string `json:"code"`
	Position string `json:"position,omitempty"`
	Object   string `json:"object,omitempty"`
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
}
