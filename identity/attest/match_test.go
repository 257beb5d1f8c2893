package attest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/credence-mesh/credence/identity/attest"
)

func ptr(n uint32) *uint32 { return &n }

func TestMatch(t *testing.T) {
	entry := func(name string, s attest.Selectors) attest.Entry {
		return attest.Entry{ID: spiffeid.RequireFromPath(spiffeid.RequireTrustDomainFromString("td"), "/ns/default/wl/"+name), Name: "default/" + name, Selectors: s}
	}
	orders := entry("orders", attest.Selectors{UID: ptr(1000), Path: "/usr/bin/orders"})
	ledger := entry("ledger", attest.Selectors{UID: ptr(1001), SHA256: "ab"})
	denied := entry("denied", attest.Selectors{UID: ptr(1002)})
	denied.Denied = "its manifest is broken"
	twin := entry("twin", attest.Selectors{Path: "/usr/bin/orders"})
	empty := entry("empty", attest.Selectors{})
	nobody := entry("nobody", attest.Selectors{UID: ptr(65534)})
	tests := []struct {
		name    string
		entries []attest.Entry
		a       attest.Attributes
		id      string
		says    []string
	}{
		{"one", []attest.Entry{orders, ledger}, attest.Attributes{UID: 1000, Path: "/usr/bin/orders"}, "spiffe://td/ns/default/wl/orders", []string{"default/orders"}},
		{"hash", []attest.Entry{orders, ledger}, attest.Attributes{UID: 1001, SHA256: "ab"}, "spiffe://td/ns/default/wl/ledger", nil},
		{
			"all must hold",
			[]attest.Entry{orders, ledger},
			attest.Attributes{UID: 1000, Path: "/tmp/x"},
			"",
			[]string{"uid 1000", "path /tmp/x", "nearest Workload is default/orders", "also needs path /usr/bin/orders"},
		},
		{"two", []attest.Entry{orders, twin}, attest.Attributes{UID: 1000, Path: "/usr/bin/orders"}, "", []string{"default/orders, default/twin"}},
		{"denied", []attest.Entry{denied}, attest.Attributes{UID: 1002}, "", []string{"default/denied", "its manifest is broken"}},
		{"no selectors match nothing", []attest.Entry{empty}, attest.Attributes{UID: 1}, "", []string{"no Workload with selectors"}},
		{"C3-9 overflow user", []attest.Entry{nobody}, attest.Attributes{UID: 65534}, "", []string{"also needs uid 65534"}},
		{"no path attested", []attest.Entry{twin}, attest.Attributes{Note: "deleted"}, "", []string{"deleted", "path /usr/bin/orders"}},
		{"none", nil, attest.Attributes{}, "", []string{"no Workload with selectors"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, why, err := attest.Match(tt.entries, tt.a)
			if id.String() != tt.id {
				t.Errorf("Match = %q, want %q", id, tt.id)
			}
			for _, s := range tt.says {
				if !strings.Contains(why, s) {
					t.Errorf("%q lacks %q", why, s)
				}
			}
			var not *attest.NotEntitledError
			if (err == nil) != (tt.id != "") || err != nil && (!errors.As(err, &not) || not.Reason != why) {
				t.Errorf("error %v", err)
			}
		})
	}
}
