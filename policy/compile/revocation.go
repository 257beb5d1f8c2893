package compile

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// useRevocations makes the revocations of all lists. A list that can't be read, and never could, might revoke anybody: every credential
// is refused until it can.
func (c *compiler) useRevocations() {
	for _, it := range c.revocations {
		for i := range it.value.Spec.Revocations {
			r := &it.value.Spec.Revocations[i]
			out := policy.Revocation{
				ID:      fmt.Sprintf("%s/%d", it.name, i),
				TokenID: r.TokenID, Subject: r.Subject, Client: r.Client, Issuer: r.Issuer, Reason: r.Reason,
			}
			if r.IssuedBefore != nil {
				out.IssuedBefore = r.IssuedBefore.UTC()
			}
			c.set.Revocations = append(c.set.Revocations, out)
		}
	}
	for k := range c.missing {
		if k.Group != v1alpha1.Group || k.Kind != v1alpha1.KindRevocationList {
			continue
		}
		id := policy.Name{Namespace: k.Namespace, Name: k.Name}.String()
		c.set.Revocations = append(c.set.Revocations, policy.Revocation{ID: id, Reason: "the list can't be read"})
		c.diags = append(c.diags, manifests.Diagnostic{
			Severity: manifests.Error, Code: "revocation-list", Object: k,
			Message: k.String() + " has no version that can be used: every credential is refused until it has",
			Hint:    "mend it, or remove it if it revokes nothing",
		})
	}
	slices.SortFunc(c.set.Revocations, func(a, b policy.Revocation) int { return cmp.Compare(a.ID, b.ID) })
}
