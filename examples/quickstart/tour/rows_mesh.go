package tour

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/credence-mesh/credence/examples/quickstart/service"
)

func meshRows() []Row {
	return []Row{
		{"batch asks the Workload API who it is", "spiffe://quickstart.test/ns/default/wl/batch", "recognised by its executable, without any secret", batchIdentity},
		{"a stranger asks the Workload API the same", "PermissionDenied", "no Workload has such an executable", strangerIdentity},
		{"web → orders → payments", "200", "three hops of mTLS, each judged by caller and user", rightToken},
		{"batch → payments with alice's internal token", "403 peer_not_allowed", "the user may, the calling workload may not: it is useless to others", batchCalls},
		{"orders → payments with alice's own token", "401 token_missing", "behind the gateway only the internal token counts", ownToken},
		{"batch → orders by itself, without a user", "200, a token of batch", "where a policy says [peer], a chain begins with the caller's own identity", batchByItself},
		{"orders → payments, user without the scope", "403 insufficient_scope orders:read", "the calling workload may, the user may not", wrongUser},
		{"plain HTTP to the sidecar of payments", "refused", "it speaks mTLS only", plainToSidecar},
		{"TLS with a certificate of another CA to it", "refused", "a SPIFFE ID counts under the trust domain's own CA only", foreignCA},
		{"Check called by another process", "PermissionDenied", "only proxies that credence started may ask", foreignCheck},
	}
}

func batchIdentity(_ context.Context, m *Mesh) (string, error) { return m.Batch("", "whoami", "") }

// strangerIdentity asks as this process, which no manifest knows.
func strangerIdentity(ctx context.Context, m *Mesh) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	svid, err := workloadapi.FetchX509SVID(ctx, workloadapi.WithAddr(m.Endpoints.WorkloadAPI))
	if err == nil {
		return svid.ID.String(), nil
	}
	return status.Code(err).String(), nil
}

func batchCalls(ctx context.Context, m *Mesh) (string, error) {
	token, err := m.internal(ctx)
	if err != nil {
		return "", err
	}
	out, err := m.Batch("", "http://payments/payments", token)
	if err != nil {
		return "", err
	}
	code, body, _ := strings.Cut(out, " ")
	return code + " " + reply{body: []byte(body)}.reason(), nil
}

// wrongUser calls as orders does: through the outbound listener of its sidecar.
func wrongUser(ctx context.Context, m *Mesh) (string, error) {
	token, err := m.internalFor(ctx, "profile")
	if err != nil {
		return "", err
	}
	return answer(m.send(ctx, request{addr: m.Endpoints.Workloads["default/orders"].Outbound, host: "payments", path: "/payments", internal: token}))
}

// ownToken sends what orders never sees: the token that the user's client holds.
func ownToken(ctx context.Context, m *Mesh) (string, error) {
	token, err := m.right(ctx)
	if err != nil {
		return "", err
	}
	return answer(m.send(ctx, request{addr: m.Endpoints.Workloads["default/orders"].Outbound, host: "payments", path: "/payments", token: token}))
}

func batchByItself(_ context.Context, m *Mesh) (string, error) {
	out, err := m.Batch("", "http://orders/orders/count", "")
	if err != nil {
		return "", err
	}
	code, body, _ := strings.Cut(out, " ")
	var a service.Answer
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		return out, err
	}
	var claims struct {
		Subject   string `json:"sub"`
		Requester string `json:"req_wl"`
	}
	parts := strings.Split(a.Identity["txn-token"], ".")
	if len(parts) != 3 {
		return out, nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if batch := m.Endpoints.Workloads["default/batch"].SPIFFEID; err != nil || claims.Subject != batch || claims.Requester != batch {
		return fmt.Sprintf("%s, a token of %q by %q", code, claims.Subject, claims.Requester), err
	}
	return code + ", a token of batch", nil
}

func plainToSidecar(ctx context.Context, m *Mesh) (string, error) {
	r, err := m.send(ctx, request{addr: m.Endpoints.Workloads["default/payments"].Inbound["http"], host: "payments", path: "/payments"})
	if err != nil {
		return "refused", nil //nolint:nilerr // the error is what is expected
	}
	return r.String(), nil
}

// foreignCA presents the identity of orders, made by a CA of its own.
func foreignCA(ctx context.Context, m *Mesh) (string, error) {
	cert, err := forgedSVID(m.Endpoints.Workloads["default/orders"].SPIFFEID)
	if err != nil {
		return "", err
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: &tls.Config{
		Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true, //nolint:gosec // the server's check of us is what is tested
	}}
	c, err := dialer.DialContext(ctx, "tcp", m.Endpoints.Workloads["default/payments"].Inbound["http"])
	if err != nil {
		return "refused", nil //nolint:nilerr // the error is what is expected
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	// With TLS 1.3 the client learns of the refusal by its first read.
	if _, err := fmt.Fprint(c, "GET /payments HTTP/1.1\r\nHost: payments\r\n\r\n"); err != nil {
		return "refused", nil //nolint:nilerr // the error is what is expected
	}
	buf := make([]byte, 64)
	n, err := c.Read(buf)
	if n == 0 && err != nil {
		return "refused", nil //nolint:nilerr // the error is what is expected
	}
	return fmt.Sprintf("%q", buf[:n]), nil
}

func forgedSVID(id string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	uri, err := url.Parse(id) //nolint:forbidigo // a SPIFFE ID of the test
	if err != nil {
		return tls.Certificate{}, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, URIs: []*url.URL{uri}, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// foreignCheck asks the Check server on the gateway's own socket, as a process that is not the gateway.
func foreignCheck(ctx context.Context, m *Mesh) (string, error) {
	conn, err := grpc.NewClient("unix://"+m.Endpoints.Gateways["default/edge"].AgentSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err = conn.Invoke(ctx, "/envoy.service.auth.v3.Authorization/Check", &emptypb.Empty{}, &emptypb.Empty{})
	return status.Code(err).String(), nil
}
