package sds_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/identity/attest"
	"github.com/credence-mesh/credence/identity/sds"
	"github.com/credence-mesh/credence/identity/svid"
)

type (
	sotwRequest   = discoveryv3.DiscoveryRequest
	sotwResponse  = discoveryv3.DiscoveryResponse
	deltaRequest  = discoveryv3.DeltaDiscoveryRequest
	deltaResponse = discoveryv3.DeltaDiscoveryResponse
)

// script is a client that says what it is told to.
type script[Req, Res any] struct {
	t    *testing.T
	send func(Req) error
	recv func() (Res, error)
}

func (s script[Req, Res]) say(req Req) {
	s.t.Helper()
	if err := s.send(req); err != nil {
		s.t.Fatal(err)
	}
}

func (s script[Req, Res]) hear() Res {
	s.t.Helper()
	r, err := s.recv()
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func sotw(t *testing.T, c secretv3.SecretDiscoveryServiceClient) script[*sotwRequest, *sotwResponse] {
	t.Helper()
	s, err := c.StreamSecrets(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	return script[*sotwRequest, *sotwResponse]{t, s.Send, s.Recv}
}

func delta(t *testing.T, c secretv3.SecretDiscoveryServiceClient) script[*deltaRequest, *deltaResponse] {
	t.Helper()
	s, err := c.DeltaSecrets(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	return script[*deltaRequest, *deltaResponse]{t, s.Send, s.Recv}
}

func sotwNames(t *testing.T, r *sotwResponse) []string {
	t.Helper()
	var names []string
	for _, body := range r.GetResources() {
		names = append(names, decode(t, body).GetName())
	}
	return names
}

func deltaNames(r *deltaResponse) (names []string) {
	for _, x := range r.GetResources() {
		names = append(names, x.GetName())
	}
	return names
}

func TestSVIDSecret(t *testing.T) {
	st, c := start(t)
	s := delta(t, c)
	s.say(&deltaRequest{TypeUrl: sds.TypeURL, ResourceNamesSubscribe: []string{orders}})
	r := s.hear()
	if diff := cmp.Diff([]string{orders}, deltaNames(r)); diff != "" {
		t.Fatal(diff)
	}
	secret := decode(t, r.GetResources()[0].GetResource())
	pair, err := tls.X509KeyPair(secret.GetTlsCertificate().GetCertificateChain().GetInlineBytes(), secret.GetTlsCertificate().GetPrivateKey().GetInlineBytes())
	if err != nil {
		t.Fatal(err)
	}
	if id, err := svid.Verify([]*x509.Certificate{pair.Leaf}, st.ca.Bundle(), time.Now()); err != nil || id.String() != orders {
		t.Errorf("Verify: %v, %v", id, err)
	}
}

func TestValidationSecret(t *testing.T) {
	st, c := start(t)
	s := sotw(t, c)
	s.say(&sotwRequest{ResourceNames: []string{sds.All}})
	r := s.hear()
	secret := decode(t, r.GetResources()[0])
	if got := secret.GetValidationContext().GetCustomValidatorConfig().GetName(); got != "envoy.tls.cert_validator.spiffe" {
		t.Errorf("validator %q", got)
	}
	if diff := cmp.Diff([]string{"td"}, trustDomains(t, secret)); diff != "" {
		t.Error(diff)
	}
	s.say(&sotwRequest{ResourceNames: []string{sds.All}, VersionInfo: r.GetVersionInfo(), ResponseNonce: r.GetNonce()})
	other := open(t, "another")
	st.set(func(st *state) { st.others = other.Bundles() })
	if diff := cmp.Diff([]string{"another", "td"}, trustDomains(t, decode(t, s.hear().GetResources()[0]))); diff != "" {
		t.Error(diff)
	}
	// All keys revoked: the domain is left out, for Envoy refuses an empty bundle and would keep the old trust.
	st.set(func(st *state) { st.drop = true })
	if diff := cmp.Diff([]string{"another"}, trustDomains(t, decode(t, s.hear().GetResources()[0]))); diff != "" {
		t.Error(diff)
	}
}

func TestNeverAnothersKey(t *testing.T) {
	st, c := start(t)
	s := delta(t, c)
	s.say(&deltaRequest{ResourceNamesSubscribe: []string{ledger, orders, "spiffe://other/a", "nonsense"}})
	r := s.hear()
	if diff := cmp.Diff([]string{orders}, deltaNames(r)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"nonsense", "spiffe://other/a", ledger}, r.GetRemovedResources(), cmp.Transformer("sort", sorted)); diff != "" {
		t.Error(diff)
	}
	w := sotw(t, c)
	w.say(&sotwRequest{ResourceNames: []string{ledger}}) // waits
	st.set(func(st *state) { st.ids = append(st.ids, spiffeid.RequireFromString(ledger)) })
	if diff := cmp.Diff([]string{ledger}, sotwNames(t, w.hear())); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{ledger}, deltaNames(s.hear())); diff != "" {
		t.Error(diff)
	}
}

func sorted(in []string) []string { return slices.Sorted(slices.Values(in)) }

func TestRotationIsPushed(t *testing.T) {
	st, c := start(t)
	d, w := delta(t, c), sotw(t, c)
	d.say(&deltaRequest{ResourceNamesSubscribe: []string{orders}})
	w.say(&sotwRequest{ResourceNames: []string{orders}})
	d1, w1 := d.hear(), w.hear()
	w.say(&sotwRequest{ResourceNames: []string{orders}, VersionInfo: w1.GetVersionInfo(), ResponseNonce: w1.GetNonce()})
	d.say(&deltaRequest{ResponseNonce: d1.GetNonce()})
	st.set(func(st *state) { st.svids[st.ids[0]] = st.issue(t, orders) })
	d2, w2 := d.hear(), w.hear()
	if d1.GetResources()[0].GetVersion() == d2.GetResources()[0].GetVersion() || w1.GetVersionInfo() == w2.GetVersionInfo() {
		t.Error("another secret with the same version")
	}
	if w1.GetNonce() == w2.GetNonce() || d1.GetNonce() == d2.GetNonce() {
		t.Error("a nonce was used twice")
	}
}

func (s *state) issue(t *testing.T, id string) *x509svid.SVID {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := s.ca.Issue(t.Context(), spiffeid.RequireFromString(id), key.Public(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return &x509svid.SVID{ID: spiffeid.RequireFromString(id), Certificates: chain, PrivateKey: key}
}

// TestBrokenSecretIsKeptBack: Envoy would refuse it and, with it, later bundles. What comes next is a message about something else.
func TestBrokenSecretIsKeptBack(t *testing.T) {
	st, c := start(t)
	d := delta(t, c)
	d.say(&deltaRequest{ResourceNamesSubscribe: []string{orders, sds.All}})
	d.hear()
	foreign := open(t, "td") // another CA of the same name
	tests := map[string]func(*state) *x509svid.SVID{
		"another's key": func(st *state) *x509svid.SVID {
			a, b := st.issue(t, orders), st.issue(t, orders)
			a.PrivateKey = b.PrivateKey
			return a
		},
		"another ID": func(st *state) *x509svid.SVID { return st.issue(t, ledger) },
		"untrusted": func(*state) *x509svid.SVID {
			return (&state{ca: foreign}).issue(t, orders)
		},
	}
	n := 0
	for name, broken := range tests {
		n++
		extra := open(t, fmt.Sprintf("another%d", n))
		st.set(func(st *state) {
			st.svids[st.ids[0]] = broken(st)
			st.others = append(st.others, extra.Bundle())
		})
		if diff := cmp.Diff([]string{sds.All}, deltaNames(d.hear())); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestGatewayCertificate(t *testing.T) {
	st, c := start(t)
	pair := st.issue(t, orders) // any certificate does
	certPEM, keyPEM, err := pair.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey, err := st.issue(t, orders).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	set := func(cert, key []byte) {
		st.set(func(st *state) { st.certs = map[string][2][]byte{"default/edge": {cert, key}} })
	}
	d := delta(t, c)
	name := sds.CertificatePrefix + "default/edge"
	d.say(&deltaRequest{ResourceNamesSubscribe: []string{name, sds.All}})
	if diff := cmp.Diff([]string{name}, d.hear().GetRemovedResources()); diff != "" {
		t.Fatal(diff)
	}
	set(certPEM, keyPEM)
	first := d.hear()
	if diff := cmp.Diff([]string{name}, deltaNames(first)); diff != "" {
		t.Fatal(diff)
	}
	junk := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})
	for i, bad := range [][2][]byte{
		{certPEM, otherKey},
		{certPEM, nil},
		{nil, keyPEM},
		{append([]byte("text\n"), certPEM...), keyPEM},
		{certPEM, append(slices.Clone(keyPEM), keyPEM...)},
		{append(slices.Clone(certPEM), "text"...), keyPEM},
		{append(slices.Clone(certPEM), junk...), keyPEM},
		{append(slices.Clone(certPEM), keyPEM...), keyPEM},
	} {
		// The bundle changes with it: the next message shows that the broken one was looked at and kept back.
		extra := open(t, fmt.Sprintf("another%d", i))
		st.set(func(st *state) {
			st.certs = map[string][2][]byte{"default/edge": {bad[0], bad[1]}}
			st.others = extra.Bundles()
		})
		if diff := cmp.Diff([]string{sds.All}, deltaNames(d.hear())); diff != "" {
			t.Errorf("broken certificate %d: %s", i, diff)
		}
	}
	st.set(func(st *state) { st.certs = nil }) // removed: not taken back
	other, otherPair := st.issue(t, ledger), []byte(nil)
	certPEM, otherPair, err = other.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	set(certPEM, otherPair)
	second := d.hear()
	got := decode(t, second.GetResources()[0].GetResource()).GetTlsCertificate().GetCertificateChain().GetInlineBytes()
	if string(got) != string(certPEM) || len(second.GetRemovedResources()) != 0 {
		t.Errorf("after broken ones: %s, removed %v", got, second.GetRemovedResources())
	}
}

func TestNotReadyWaits(t *testing.T) {
	st, c := start(t)
	st.set(func(st *state) { st.err = attest.ErrNotReady })
	d, w := delta(t, c), sotw(t, c)
	d.say(&deltaRequest{ResourceNamesSubscribe: []string{orders}})
	w.say(&sotwRequest{ResourceNames: []string{orders}})
	st.set(func(st *state) { st.err = nil })
	if diff := cmp.Diff([]string{orders}, deltaNames(d.hear())); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{orders}, sotwNames(t, w.hear())); diff != "" {
		t.Error(diff)
	}
}

func TestNotEntitledIsRefused(t *testing.T) {
	st, c := start(t)
	d := delta(t, c)
	d.say(&deltaRequest{ResourceNamesSubscribe: []string{sds.All}})
	d.hear()
	st.set(func(st *state) { st.err = &attest.NotEntitledError{Reason: "also needs uid 1"} })
	if _, err := d.recv(); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "also needs uid 1") {
		t.Errorf("entitlement lost: %v", err)
	}
	w := sotw(t, c)
	w.say(&sotwRequest{ResourceNames: []string{sds.All}})
	if _, err := w.recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("no entitlement: %v", err)
	}
	st.set(func(st *state) { st.err, st.ids = nil, nil })
	w = sotw(t, c)
	w.say(&sotwRequest{ResourceNames: []string{sds.All}})
	if _, err := w.recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("no IDs: %v", err)
	}
}

// A server that was given no credentials attests nobody, so it gives nobody a key.
func TestNobodyIsServedUnattested(t *testing.T) {
	_, c := startWith(t, sds.Options{})
	// The stream ends before anything is asked.
	if r, err := delta(t, c).recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("got %v, %v", r, err)
	}
}

// What a stream rests on is looked at again although nobody says that it changed.
func TestEntitlementIsAskedAgainInSilence(t *testing.T) {
	st, c := startWith(t, sds.Options{Recheck: time.Millisecond}, grpc.Creds(attest.Credentials()))
	d := delta(t, c)
	d.say(&deltaRequest{ResourceNamesSubscribe: []string{sds.All}})
	d.hear()
	st.mu.Lock()
	st.err = &attest.NotEntitledError{Reason: "the process is another one now"}
	st.mu.Unlock()
	if r, err := d.recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("after a silent loss: %v, %v", r, err)
	}
}

func TestMalformedRequests(t *testing.T) {
	_, c := start(t)
	for name, req := range map[string]*sotwRequest{
		"another type": {TypeUrl: "type.googleapis.com/envoy.config.cluster.v3.Cluster", ResourceNames: []string{sds.All}},
		"wildcard":     {ResourceNames: []string{"*"}},
		"empty name":   {ResourceNames: []string{""}},
		"long name":    {ResourceNames: []string{strings.Repeat("a", 4096)}},
	} {
		w := sotw(t, c)
		w.say(req)
		if _, err := w.recv(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprint(i))
	}
	d := delta(t, c)
	d.say(&deltaRequest{ResourceNamesSubscribe: many})
	if _, err := d.recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("many names: %v", err)
	}
}

// TestSotWSubscription: more names are answered although nothing has changed, fewer are not, a refusal isn't answered with the same again.
func TestSotWSubscription(t *testing.T) {
	st, c := start(t)
	w := sotw(t, c)
	w.say(&sotwRequest{ResourceNames: []string{orders}})
	r := w.hear()
	w.say(&sotwRequest{ResourceNames: []string{orders, sds.All}, VersionInfo: r.GetVersionInfo(), ResponseNonce: r.GetNonce()})
	r = w.hear()
	if diff := cmp.Diff([]string{sds.All, orders}, sotwNames(t, r)); diff != "" {
		t.Error(diff)
	}
	// An old nonce is not taken for the state of the client.
	w.say(&sotwRequest{ResourceNames: []string{ledger}, ResponseNonce: "1"})
	w.say(&sotwRequest{ResourceNames: []string{orders, sds.All}, ResponseNonce: r.GetNonce(), ErrorDetail: &rpc.Status{Message: "refused"}})
	// A change may overtake the request; then the client says again what it wants, as Envoy does after every response.
	var got []string
	for range 20 {
		w.say(&sotwRequest{ResourceNames: []string{sds.All}, VersionInfo: r.GetVersionInfo(), ResponseNonce: r.GetNonce()})
		extra := open(t, "another")
		st.set(func(st *state) { st.others = extra.Bundles() })
		r = w.hear()
		if got = sotwNames(t, r); cmp.Equal([]string{sds.All}, got) {
			break
		}
	}
	if diff := cmp.Diff([]string{sds.All}, got); diff != "" {
		t.Errorf("the next message is about the change only: %s", diff)
	}
	w.say(&sotwRequest{ResourceNames: []string{orders, sds.All}, VersionInfo: r.GetVersionInfo(), ResponseNonce: r.GetNonce()})
	if diff := cmp.Diff([]string{sds.All, orders}, sotwNames(t, w.hear())); diff != "" {
		t.Errorf("a name that came back: %s", diff)
	}
}

// TestDeltaSubscription: a name that is subscribed to again is sent again; after a reconnect only what is new.
func TestDeltaSubscription(t *testing.T) {
	_, c := start(t)
	d := delta(t, c)
	d.say(&deltaRequest{ResourceNamesSubscribe: []string{orders}})
	first := d.hear()
	d.say(&deltaRequest{ResourceNamesUnsubscribe: []string{orders}})
	d.say(&deltaRequest{ResourceNamesSubscribe: []string{orders}})
	again := d.hear()
	if diff := cmp.Diff([]string{orders}, deltaNames(again)); diff != "" {
		t.Error(diff)
	}
	version := first.GetResources()[0].GetVersion()
	if version != again.GetResources()[0].GetVersion() {
		t.Error("the same secret with another version")
	}
	d = delta(t, c)
	d.say(&deltaRequest{ResourceNamesSubscribe: []string{orders, sds.All}, InitialResourceVersions: map[string]string{orders: version}})
	if diff := cmp.Diff([]string{sds.All}, deltaNames(d.hear())); diff != "" {
		t.Error(diff)
	}
	d = delta(t, c)
	d.say(&deltaRequest{ResourceNamesSubscribe: []string{orders}, InitialResourceVersions: map[string]string{orders: "old"}})
	if diff := cmp.Diff([]string{orders}, deltaNames(d.hear())); diff != "" {
		t.Error(diff)
	}
}
