package tour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/credence-mesh/credence/examples/quickstart/service"
)

// ledgerRows tell which of two a manifest controls: payments, which its sidecar guards, or ledger, which serves mTLS itself.
func ledgerRows() []Row {
	return []Row{
		{"payments → ledger, which serves mTLS itself", "200", "ledger's code takes payments; the sidecar of payments has found it like any other", paymentsToLedger("/payments")},
		{"payments → ledger without any proxy between", "200", "both ends take their SVIDs from the Workload API", paymentsToLedger("/payments/direct")},
		{"batch → ledger with alice's internal token", "403 peer_not_allowed by ledger", "refused by ledger's code, not by a manifest", batchToLedger},
		{"a policy lets batch call payments, then …", "200 at payments, 403 at ledger", "a manifest controls payments; ledger's code controls ledger", policyForPayments},
		{"a policy is written for ledger", "error policy-not-enforced, 403", "it has no force, and credence says so", policyForLedger},
	}
}

// ledgerSaw says what is wrong in what ledger saw; empty: nothing. It reads no token, so it knows the caller and no user.
func ledgerSaw(body []byte, m *Mesh) string {
	var a service.Answer
	switch err := json.Unmarshal(body, &a); {
	case err != nil || a.Service != "ledger":
		return fmt.Sprintf("; ledger answered %.80q", body)
	case a.Caller != m.Endpoints.Workloads["default/payments"].SPIFFEID || a.User != "":
		return fmt.Sprintf("; ledger saw the caller %q and the user %q", a.Caller, a.User)
	}
	return ""
}

// paymentsToLedger asks payments as orders does, and looks at what ledger says through it.
func paymentsToLedger(path string) func(context.Context, *Mesh) (string, error) {
	return func(ctx context.Context, m *Mesh) (string, error) {
		token, err := m.internal(ctx)
		if err != nil {
			return "", err
		}
		r, err := m.send(ctx, request{addr: m.Endpoints.Workloads["default/orders"].Outbound, host: "payments", path: path, internal: token})
		if err != nil {
			return "", err
		}
		var a service.Answer
		if err := json.Unmarshal(r.body, &a); err != nil {
			return r.String(), err
		}
		return r.String() + ledgerSaw(a.Next, m), nil
	}
}

func batchToLedger(ctx context.Context, m *Mesh) (string, error) {
	token, err := m.internal(ctx)
	if err != nil {
		return "", err
	}
	out, err := m.Batch("", "http://ledger/entries", token)
	if err != nil {
		return "", err
	}
	code, body, _ := strings.Cut(out, " ")
	said := reply{body: []byte(body)}.refusal()
	by := strings.TrimPrefix(said.DecidedBy, "the code of spiffe://quickstart.test/ns/default/wl/")
	return code + " " + said.Reason + " by " + by, nil
}

func (m *Mesh) batchStatus(ctx context.Context, target string) (string, error) {
	token, err := m.internal(ctx)
	if err != nil {
		return "", err
	}
	out, err := m.Batch("", target, token)
	code, _, _ := strings.Cut(out, " ")
	return code, err
}

// policyForPayments lets batch call payments, and asks ledger too.
func policyForPayments(ctx context.Context, m *Mesh) (string, error) {
	undo, err := m.Edit("policies.yaml", func(s string) string {
		return strings.Replace(s, "from: [{workload: orders}]", "from: [{workload: orders}, {workload: batch}]", 1)
	})
	if err != nil {
		return "", err
	}
	ask := func() (string, error) { return m.batchStatus(ctx, "http://payments/payments") }
	payments, _, err := until(ctx, "200", ask)
	ledger, err2 := m.batchStatus(ctx, "http://ledger/entries")
	err = errors.Join(err, err2, undo())
	if back, _, e := until(ctx, "403", ask); back != "403" {
		err = errors.Join(err, e, fmt.Errorf("after the edit was undone batch got %s from payments", back))
	}
	return payments + " at payments, " + ledger + " at ledger", err
}

// policyForLedger writes a policy that would let batch in, if it had any force.
func policyForLedger(ctx context.Context, m *Mesh) (string, error) {
	undo, err := m.Edit("policies.yaml", func(s string) string {
		return s + `---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata:
  name: ledger
spec:
  targetRefs:
    - {group: credence.mesh, kind: Workload, name: ledger}
  rules:
    - name: batch
      from: [{workload: batch}]
`
	})
	if err != nil {
		return "", err
	}
	const want = "error policy-not-enforced"
	said := func() (string, error) {
		status, err := m.Run(ctx, "status")
		for line := range strings.Lines(status) {
			if strings.Contains(line, ": error: AuthPolicy default/ledger is not enforced") && strings.Contains(line, "[policy-not-enforced]") {
				return want, err
			}
		}
		return "nothing said", err
	}
	got, _, err := until(ctx, want, said)
	code, err2 := m.batchStatus(ctx, "http://ledger/entries")
	err = errors.Join(err, err2, undo())
	if back, _, e := until(ctx, "nothing said", said); back != "nothing said" {
		err = errors.Join(err, e, errors.New("the fault is still said after the edit was undone"))
	}
	return got + ", " + code, err
}
