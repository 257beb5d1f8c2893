package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/credence-mesh/credence/internal/durable"
)

// EndpointsFile is the name of the file in the state directory that says where everything is, for scripts.
const EndpointsFile = "endpoints.json"

// Endpoints is the content of EndpointsFile. Format 1; fields are only ever added.
type Endpoints struct {
	Format      int    `json:"format"`
	PID         int    `json:"pid"`
	TrustDomain string `json:"trustDomain"`
	// Admin is "ip:port" of /healthz, /readyz and /metrics; AdminSocket the unix socket of the admin API.
	Admin       string `json:"admin"`
	AdminSocket string `json:"adminSocket"`
	// WorkloadAPI is the value for SPIFFE_ENDPOINT_SOCKET.
	WorkloadAPI string `json:"workloadAPI"`
	// InternalTokenKeys is the URL of the JWK Set of internal tokens, InternalTokenIssuer their iss; empty: the mesh makes none.
	InternalTokenKeys   string `json:"internalTokenKeys,omitempty"`
	InternalTokenIssuer string `json:"internalTokenIssuer,omitempty"`
	// Issuer is the URL of the development issuer; empty: none runs.
	Issuer string `json:"issuer,omitempty"`
	// Checks are the addresses of `credence authz`: the path of a unix socket, "ip:port".
	Checks    []string                    `json:"checks,omitempty"`
	Gateways  map[string]GatewayEndpoint  `json:"gateways"`
	Workloads map[string]WorkloadEndpoint `json:"workloads"`
}

// GatewayEndpoint is one gateway; Listeners are "ip:port" by listener name.
type GatewayEndpoint struct {
	SPIFFEID    string            `json:"spiffeID"`
	Listeners   map[string]string `json:"listeners"`
	ProxyID     string            `json:"proxyID"`
	AdminSocket string            `json:"adminSocket"`
	AgentSocket string            `json:"agentSocket"`
}

// WorkloadEndpoint is one workload. Inbound are the mTLS addresses, Application where it must listen itself ("ip:port" or the path of a
// unix socket), both by port name and equal where the application serves mTLS itself; Outbound is where it calls others.
type WorkloadEndpoint struct {
	SPIFFEID    string            `json:"spiffeID"`
	Inbound     map[string]string `json:"inbound"`
	Application map[string]string `json:"application"`
	Outbound    string            `json:"outbound"`
	ProxyID     string            `json:"proxyID"`
	AdminSocket string            `json:"adminSocket"`
	AgentSocket string            `json:"agentSocket"`
}

func (e Endpoints) write(stateDir string) error {
	body, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(stateDir, EndpointsFile), append(body, '\n'), 0o600)
}

// ErrNotRunning is returned by ReadEndpoints where no product runs with that state directory.
var ErrNotRunning = errors.New("credence does not run")

// ReadEndpoints reads what the product with that state directory says of itself.
func ReadEndpoints(stateDir string) (Endpoints, error) {
	file := filepath.Join(stateDir, EndpointsFile)
	body, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Endpoints{}, fmt.Errorf("%w with the state directory %s: start it with `credence up -f DIR`, or name another one with --state-dir", ErrNotRunning, stateDir)
	}
	if err != nil {
		return Endpoints{}, err
	}
	var e Endpoints
	if err := json.Unmarshal(body, &e); err != nil {
		return Endpoints{}, fmt.Errorf("%s is damaged: %w; it is written anew by `credence up`", file, err)
	}
	return e, nil
}
