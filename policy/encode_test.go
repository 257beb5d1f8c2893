package policy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/policy"
)

func sample() *policy.Set {
	uid := uint32(0)
	n := policy.Name{Namespace: "default", Name: "x"}
	return &policy.Set{
		Mesh: policy.Mesh{TrustDomain: "example.org", Development: true, CATTL: 24 * time.Hour, SVIDTTL: time.Hour},
		Gateways: []policy.Gateway{{Name: n, SPIFFEID: "spiffe://example.org/ns/default/gw/x", Listeners: []policy.Listener{{
			Address: "::1", Port: 8443, Protocol: policy.HTTPS, Sections: []policy.Section{{
				Name: "a", Hostname: "*.example.org",
				Certificates: []policy.Name{n}, VirtualHosts: []policy.VirtualHost{{Host: "*.example.org", Routes: []policy.Route{{
					ID: "ID", Origin: policy.Origin{Kind: "HTTPRoute", Name: n, Rule: "<&>\u2028"},
					Match:    policy.RouteMatch{PathKind: policy.PathPrefix, Path: "/", Headers: []policy.NameValue{{Name: "a", Value: "é"}}},
					Redirect: &policy.Redirect{Status: 302, Path: &policy.PathChange{Prefix: true, Value: "/"}},
					Rewrite:  &policy.Rewrite{Host: "h"}, Backends: []policy.Backend{{Workload: n, Port: 1, Weight: 4294967295, Missing: true}},
					RequestTimeout: time.Nanosecond, Access: policy.Access{Levels: []policy.Level{{Kind: policy.RouteLevel, Policies: []policy.Name{n}}}},
				}}}},
			}},
		}}}},
		Workloads: []policy.Workload{{Name: n, Selectors: policy.Selectors{UID: &uid}, Boundary: policy.BoundaryUser, Ports: []policy.Port{}}},
		Policies: []policy.Policy{{Name: n, Rules: []policy.Rule{{Name: "r", Action: policy.Deny, To: []policy.Operation{
			{Paths: []policy.PathPattern{{Segments: []string{}, Prefix: true}}},
		}}}}},
	}
}

func TestEncodeRoundTrip(t *testing.T) {
	b, err := policy.Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(b), `{"format":1,"set":{`) {
		t.Errorf("encoding begins %.40s", b)
	}
	got, err := policy.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sample(), got); d != "" {
		t.Error(d)
	}
	if got.Hash() != sample().Hash() {
		t.Error("hash differs after a round trip")
	}
}

func TestHashTellsSetsApart(t *testing.T) {
	other := sample()
	other.Policies[0].Rules[0].Action = policy.Allow
	if other.Hash() == sample().Hash() {
		t.Error("two Sets have one hash")
	}
	root, none := sample(), sample()
	none.Workloads[0].Selectors.UID = nil
	if root.Hash() == none.Hash() {
		t.Error("uid 0 and no uid have one hash")
	}
}

func TestDecodeRefuses(t *testing.T) {
	good, err := policy.Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	text := string(good)
	for _, tc := range []struct {
		name, text string
		want       error
		says       string
	}{
		{"newer format", strings.Replace(text, `"format":1`, `"format":2`, 1), policy.ErrFormat, "it is format 2, this build reads format 1"},
		{"format 0", strings.Replace(text, `"format":1`, `"format":0`, 1), policy.ErrFormat, "format 0"},
		{"newer format with unknown fields", `{"format":9,"set":{"new":true},"more":1}`, policy.ErrFormat, "format 9"},
		{"no format", `{"set":{}}`, policy.ErrMalformed, "names no format"},
		{"no set", `{"format":1,"set":null}`, policy.ErrMalformed, "holds no set"},
		{"unknown field", strings.Replace(text, `"trustDomain"`, `"domain"`, 1), policy.ErrMalformed, "unknown field"},
		{"other case", strings.Replace(text, `"trustDomain"`, `"TrustDomain"`, 1), policy.ErrMalformed, "canonical"},
		{"field twice", strings.Replace(text, `"development":true`, `"development":false,"development":true`, 1), policy.ErrMalformed, "canonical"},
		{"white space", strings.Replace(text, `,"set"`, `, "set"`, 1), policy.ErrMalformed, "canonical"},
		{"trailing data", text + "{}", policy.ErrMalformed, ""},
		{"cut off", text[:len(text)-2], policy.ErrMalformed, ""},
		{"empty", "", policy.ErrMalformed, ""},
		{"not JSON", "apiVersion: v1", policy.ErrMalformed, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set, err := policy.Decode([]byte(tc.text))
			if set != nil || !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("Decode = %v, %v, want %v saying %q", set, err, tc.want, tc.says)
			}
		})
	}
	if _, err := policy.Encode(nil); err == nil {
		t.Error("Encode(nil) gives no error")
	}
}
