package v1alpha1

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// revocationList checks that each entry names what it covers: one that names nothing would revoke every credential.
func (c *checker) revocationList(s *RevocationListSpec) {
	for i := range s.Revocations {
		r := &s.Revocations[i]
		if r.TokenID == "" && r.Subject == "" && r.Client == "" && r.Issuer == "" {
			c.fail(fmt.Sprintf("spec.revocations[%d]", i), "required", "it names nothing that is revoked", "set tokenID, subject, client or issuer")
		}
		c.moment(fmt.Sprintf("spec.revocations[%d].issuedBefore", i), r.IssuedBefore)
	}
}

// moment checks a time. The zero time would be read as none, and a year of five digits, which 9999-12-31T23:59:59-01:00 is in UTC, has no JSON.
func (c *checker) moment(path string, t *metav1.Time) {
	if t == nil {
		return
	}
	if year := t.UTC().Year(); year < 1970 || year > 9999 {
		c.fail(path, "out-of-range", "not between the years 1970 and 9999 (UTC)", "leave it out where there is no such time")
	}
}
